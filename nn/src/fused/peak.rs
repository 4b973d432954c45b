//! What the machine can do at best: two yardsticks to read other figures by.

use std::sync::Arc;

use rayon::prelude::*;

use super::arena::{Arena, Buffer};
use super::conv::{Convolution, Products};
use super::simd::{Isa, Simd, dispatch};
use crate::architecture::{Architecture, Layer, Norm, Pooling};
use crate::{Error, Result};

/// Independent sums: more than latency times units of any CPU in use, fewer than its vector registers.
const CHAINS: usize = 12;

/// `rounds` of multiply-adds in registers, on this thread: no memory, no dependence to wait for. Gives the floating
/// point operations done, two a multiply-add.
///
/// # Errors
/// When the CPU lacks the instruction set that `KSHOT_ISA` names.
pub fn multiply_add_loop(rounds: usize) -> Result<f64> {
    let (mut lanes, mut sum) = (0, 0.0);
    run_chains(Isa::choose()?, rounds, &mut lanes, &mut sum);
    std::hint::black_box(sum);
    Ok((2 * CHAINS * lanes * rounds) as f64)
}

/// The instruction set that the kernels use: `avx512`, `avx2`, `neon` or `portable`.
///
/// # Errors
/// As [`multiply_add_loop`].
pub fn instruction_set() -> Result<&'static str> {
    Ok(Isa::choose()?.name())
}

dispatch! {
    fn run_chains(rounds: usize, lanes: &mut usize, sum: &mut f32) = chains
}

#[inline(always)]
fn chains<S: Simd>(simd: S, rounds: usize, lanes: &mut usize, sum: &mut f32) {
    let factor = simd.splat(0.999);
    let mut totals = [simd.splat(1.0); CHAINS];
    for _ in 0..rounds {
        for total in &mut totals {
            *total = simd.fma(*total, factor, factor);
        }
    }
    let total = totals.into_iter().reduce(|a, b| simd.add(a, b)).unwrap_or(factor);
    let mut values = [0.0; 16];
    // SAFETY: no vector is longer than 16 floats.
    unsafe { simd.store(values.as_mut_ptr(), total) };
    (*lanes, *sum) = (S::LANES, values.iter().sum());
}

/// The convolution of 64 to 64 channels at 14×14 alone, forward, as the second block of Conv4 computes it.
pub struct ConvolutionPeak {
    convolution: Convolution,
    filters: Buffer,
    groups: Vec<Group>,
}

/// Images that one task computes, with its buffers.
struct Group {
    x: Buffer,
    lowered: Buffer,
    products: Buffer,
    y: Buffer,
}

/// Images of a group: their transforms stay near the core.
const GROUP: usize = 4;

impl ConvolutionPeak {
    /// For `images` images, a multiple of 4 for whole groups.
    ///
    /// # Errors
    /// As [`multiply_add_loop`].
    pub fn new(images: usize) -> Result<Self> {
        let architecture = Architecture::conv([64, 14, 14], 1, 64, Pooling::Maxpool, Norm::Batch)?;
        let Some(Layer::Conv(conv)) = architecture.layers.first() else {
            return Err(Error::invalid("a convolutional network starts with a convolution"));
        };
        let (isa, arena) = (Isa::choose()?, Arc::<Arena>::default());
        let convolution = Convolution::new(isa, conv);
        let filters = convolution.filters(&arena, &arena.zeros(64 * 64 * 9));
        let group = |_| Group {
            x: arena.zeros(GROUP * convolution.input.len()),
            lowered: arena.zeros(convolution.lowered_len(GROUP)),
            products: arena.zeros(convolution.raised_len(GROUP)),
            y: arena.zeros(GROUP * convolution.output.len()),
        };
        let groups = (0..images / GROUP).map(group).collect();
        Ok(Self { convolution, filters, groups })
    }

    /// All images once, in parallel. Gives the operations that a direct convolution takes.
    pub fn run(&mut self) -> f64 {
        let Self { convolution, filters, groups } = self;
        groups.par_iter_mut().for_each(|Group { x, lowered, products, y }| {
            let lowered = convolution.lower(GROUP, x, lowered);
            let to = Products { planes: products, result: y, accumulate: false };
            convolution.convolve(GROUP, lowered, filters, to);
            convolution.raise(GROUP, products, y);
        });
        (2 * GROUP * groups.len() * 14 * 14 * 64 * 64 * 9) as f64
    }
}
