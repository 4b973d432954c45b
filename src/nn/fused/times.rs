//! Measurements, not tests: `cargo test --release --lib fused_ -- --ignored --nocapture --test-threads 1`, with the
//! number of threads in `THREADS`.

use std::time::Instant;

use ndarray::Array2;
use rayon::prelude::*;

use super::Fused;
use super::arena::Arena;
use super::conv::{Convolution, Image};
use super::first::First;
use super::gemm::{Panels, Sizes, Strided, Target, multiply};
use super::norm::{self, Affine};
use super::simd::Isa;
use super::tests::{random_images, random_params};
use crate::nn::network::{Network as _, Passes};
use crate::nn::{Architecture, Layer, Loss, Norm, Pooling};

/// Times of the passes at the sizes of `docs/performance.md`, beside a register-only loop of multiply-adds:
/// `cargo test --release --lib fused_times -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn fused_times() {
    let best = |reps: usize, work: &mut dyn FnMut()| {
        (0..reps)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64() * 1e3
            })
            .fold(f64::INFINITY, f64::min)
    };
    let threads: usize = std::env::var("THREADS").map_or(2, |t| t.parse().unwrap());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        // The network's part of a second-order MAML step: gradients on support and query, one Hessian-vector product.
        let tasks = |architecture: &Architecture, count: usize, support: usize, query: usize, loss: &(dyn Fn(usize) -> Loss + Sync)| {
            let network = Fused::new(architecture.clone()).unwrap();
            let theta = random_params(5, architecture);
            let [c, h, w] = architecture.input;
            let images = [support, query].map(|n| random_images(6, [n, c, h, w]));
            best(20, &mut || {
                (0..count).into_par_iter().for_each(|_| {
                    for x in &images {
                        let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
                        network.backward(&theta, &saved, output).unwrap();
                    }
                    network.hvp(&theta, images[0].view(), &loss(support), &theta).unwrap();
                });
            })
        };
        for pooling in [Pooling::Maxpool, Pooling::Strided] {
            if std::env::var("ONLY").is_ok_and(|only| only != "maml") {
                continue;
            }
            let architecture = Architecture::conv([1, 28, 28], 4, 64, pooling, Norm::Batch, Some(5)).unwrap();
            let ms = tasks(&architecture, 4, 5, 75, &|n| Loss::CrossEntropy { labels: vec![0; n] });
            println!("{pooling:?}, four tasks of 5 + 75 images: {ms:.2} ms");
        }
        let sinusoid = Architecture::mlp([1, 1, 1], &[40, 40], Some(1)).unwrap();
        let ms = tasks(&sinusoid, 25, 10, 10, &|n| Loss::Mse { targets: Array2::zeros((n, 1)) });
        println!("sinusoid, 25 tasks of 10 + 10: {ms:.3} ms");
        let architecture = Architecture::mlp([1, 1, 1], &[40, 40], Some(1)).unwrap();
        let network = Fused::new(architecture.clone()).unwrap();
        let (theta, x) = (random_params(5, &architecture), random_images(6, [10, 1, 1, 1]));
        let loss = Loss::Mse { targets: Array2::zeros((10, 1)) };
        let train = best(200, &mut || {
            let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
            network.backward(&theta, &saved, output).unwrap();
        });
        let hvp = best(200, &mut || drop(network.hvp(&theta, x.view(), &loss, &theta).unwrap()));
        println!("perceptron: forward + backward {:.1} us, Hessian-vector product {:.1} us", train * 1e3, hvp * 1e3);
        for (pooling, n, reps) in [
            (Pooling::Maxpool, 80, 40),
            (Pooling::Maxpool, 400, 12),
            (Pooling::Maxpool, 5, 60),
            (Pooling::Strided, 75, 40),
            (Pooling::Strided, 5, 60),
        ] {
            if std::env::var("ONLY").is_ok_and(|only| only != format!("{pooling:?}{n}")) {
                continue;
            }
            let architecture = Architecture::conv([1, 28, 28], 4, 64, pooling, Norm::Batch, None).unwrap();
            let network = Fused::new(architecture.clone()).unwrap();
            let theta = random_params(5, &architecture);
            let x = random_images(6, [n, 1, 28, 28]);
            let evaluate = best(reps, &mut || drop(network.evaluate(&theta, x.view()).unwrap()));
            let train = best(reps, &mut || {
                let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
                network.backward(&theta, &saved, output).unwrap();
            });
            let loss = Loss::CrossEntropy { labels: vec![0; n] };
            let hvp = best(reps, &mut || drop(network.hvp(&theta, x.view(), &loss, &theta).unwrap()));
            println!("Hessian-vector product {hvp:.2} ms; {pooling:?} {n} images: evaluate {evaluate:.2} ms, forward + backward {train:.2} ms");
        }
    });
}

/// Times of single kernels on data in the cache: microseconds, and GFLOP/s of products.
#[test]
#[ignore = "a measurement"]
fn fused_kernel_times() {
    let isa = Isa::detect();
    let arena = std::sync::Arc::new(Arena::default());
    #[target_feature(enable = "avx2,fma")]
    fn peak(n: usize) -> f32 {
        use std::arch::x86_64::*;
        let mut s = [_mm256_set1_ps(1.0); 12];
        let a = _mm256_set1_ps(0.999);
        for _ in 0..n {
            for s in &mut s {
                *s = _mm256_fmadd_ps(*s, a, a);
            }
        }
        let mut t = s[0];
        for x in &s[1..] {
            t = _mm256_add_ps(t, *x);
        }
        let mut o = [0.0; 8];
        unsafe { _mm256_storeu_ps(o.as_mut_ptr(), t) };
        o.iter().sum()
    }
    let best_of = |name: &str, flops: f64, work: &mut dyn FnMut()| {
        let mut best = f64::INFINITY;
        for _ in 0..30 {
            let t = Instant::now();
            work();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!("{name}: {:.1} GFLOP/s ({:.1} us)", flops / best / 1e9, best * 1e6);
    };
    best_of("peak", 12.0 * 16.0 * 1e6, &mut || {
        std::hint::black_box(unsafe { peak(1_000_000) });
    });
    for (count, size) in [(4, 14), (1, 14), (10, 7)] {
        let architecture =
            Architecture::conv([64, size, size], 1, 64, Pooling::Maxpool, Norm::Batch, None).unwrap();
        let Layer::ConvBlock(block) = &architecture.layers[0] else { unreachable!() };
        let convolution = Convolution::new(block);
        let mut images = arena.zeros(count * convolution.input.len());
        let mut rows = arena.zeros(convolution.lowered_len(count));
        let each = count as f64 * 1e3;
        best_of(&format!("lower {count} {size}"), each, &mut || {
            convolution.lower(isa, count, &images, &mut rows)
        });
        best_of(&format!("spread {count} {size}"), each, &mut || {
            convolution.spread(isa, count, &images, &mut rows)
        });
        best_of(&format!("raise {count} {size}"), each, &mut || {
            convolution.raise(isa, count, &rows, &mut images)
        });
        best_of(&format!("gather {count} {size}"), each, &mut || {
            convolution.gather(isa, count, &rows, &mut images)
        });
        let weight = arena.zeros(64 * 64 * 9);
        best_of("filters", 1e3, &mut || drop(convolution.filters(isa, &arena, &weight)));
        best_of("transposed filters", 1e3, &mut || {
            drop(convolution.transposed_filters(isa, &arena, &weight))
        });
        let shape = norm::Shape {
            convolved: convolution.output,
            output: Image::new([64, size / 2, size / 2]),
            pool: true,
        };
        let ones = arena.zeros(64);
        let affine = Affine { scale: &ones, shift: &ones };
        let y = arena.zeros(convolution.output.len());
        let mut z = arena.zeros(shape.output.len());
        best_of("activate", 1e3, &mut || norm::activate(isa, shape, affine, &y, &mut z));
        let (mut a, mut b, mut sums) = (arena.zeros(64), arena.zeros(64), arena.zeros(128));
        best_of("statistics", 1e3, &mut || norm::statistics(isa, convolution.output, &y, &mut a, &mut b));
        best_of("sums", 1e3, &mut || norm::gradient_sums(isa, shape, affine, &ones, &y, &z, &mut sums));
        let mut dy = arena.zeros(convolution.output.len());
        best_of("gradient", 1e3, &mut || {
            norm::convolved_gradient(isa, shape, affine, affine, &y, &z, &mut dy)
        });
    }
    {
        let architecture =
            Architecture::conv([1, 28, 28], 1, 64, Pooling::Maxpool, Norm::Batch, None).unwrap();
        let Layer::ConvBlock(block) = &architecture.layers[0] else { unreachable!() };
        let first = First::new(block).unwrap();
        let (x, filters, scale) =
            (arena.zeros(first.padded_len()), arena.zeros(first.filters_len()), arena.zeros(64));
        let affine = Affine { scale: &scale, shift: &scale };
        let mut z = arena.zeros(first.output.len());
        best_of("first activate", 1e3, &mut || first.activate(isa, &filters, affine, &x, &mut z));
        let (mut sums, mut routed) = (arena.zeros(10 * 64), arena.zeros(first.routed_len()));
        best_of("first backward", 1e3, &mut || {
            first.backward(isa, &filters, affine, &x, &z, &mut routed, &mut sums)
        });
        let (mut elements, mut moments) = (arena.zeros(first.elements_len()), vec![0.0; first.moments_len()]);
        best_of("first moments", 1e3, &mut || {
            first.add_moments(isa, &[0.0], &x, &mut elements, &mut moments)
        });
    }
    for (planes, rows, columns, depth) in [
        (1, 64, 64, 64),
        (1, 60, 64, 64),
        (1, 6, 64, 64),
        (1, 6, 16, 64),
        (36, 64, 64, 64),
        (36, 32, 64, 64),
        (36, 128, 64, 64),
        (1, 64, 64, 576),
    ] {
        let a = arena.zeros(planes * (rows * depth + 16));
        let b = arena.zeros(planes * columns * depth);
        let mut c = arena.zeros(planes * (rows * columns + 16));
        let flops = 2.0 * (planes * rows * columns * depth) as f64;
        best_of(&format!("AB {planes} {rows}x{columns}x{depth}"), flops * 10.0, &mut || {
            for _ in 0..10 {
                multiply(
                    isa,
                    Sizes { planes, rows, columns, depth },
                    Strided { values: &a, plane: rows * depth + 16, row: depth, column: 1 },
                    Panels { values: &b, plane: columns * depth, panel: depth * 16, depth: 16 },
                    Target { values: &mut c, plane: rows * columns + 16, row: columns, accumulate: false },
                );
            }
        });
        let a = arena.zeros(planes * (rows * depth + 16));
        let b = arena.zeros(planes * (columns * depth + 16));
        best_of(&format!("AtB {planes} {rows}x{columns}x{depth}"), flops * 10.0, &mut || {
            for _ in 0..10 {
                multiply(
                    isa,
                    Sizes { planes, rows, columns, depth },
                    Strided { values: &a, plane: rows * depth + 16, row: 1, column: rows },
                    Panels { values: &b, plane: columns * depth + 16, panel: 16, depth: columns },
                    Target { values: &mut c, plane: rows * columns, row: columns, accumulate: true },
                );
            }
        });
    }
}
