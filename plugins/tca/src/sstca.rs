//! Semi-supervised transfer component analysis (Pan et al. 2011, section IV).
//!
//! Components W that maximise tr(Wᵀ F' H K̃ H F W) under Wᵀ (F' (e eᵀ + λ/n² 𝓛) F + μ I) W = I. K̃ = γ K_yy + (1 − γ) I
//! asks that they depend on the labels of the labelled (K_yy is 1 for two of the same class, equation 15); 𝓛 = D − M is
//! the Laplacian of the graph of neighbours, M = exp(−‖x − y‖² / 2σ²) for two of which one is among the other's nearest
//! (equation 17). The constraint has full rank, so this is solved whole: O(p³) for p features or examples.

use faer::{Mat, MatRef, Side};
use kshot::{Error, Result};
use rayon::prelude::*;

use crate::basis::{KernelFeatures, Task, domains, enough};
use crate::components::{centre, product};
use crate::config::SstcaOptions;
use crate::kernel::Kernel;

pub(crate) fn align(config: &SstcaOptions, task: &Task<'_>) -> Result<Mat<f64>> {
    let n = task.x.nrows();
    let basis = KernelFeatures::new(&config.tca, task.x)?;
    let f = basis.features();
    // A = F' (e eᵀ + λ/n² 𝓛) F + μ I.
    let difference = product(f.transpose(), domains(task.sources, n).as_ref());
    let mut a = product(difference.as_ref(), difference.transpose());
    if config.locality > 0.0 {
        let mut pulled = laplacian_times(task.x, config.neighbours, f);
        pulled *= faer::Scale(config.locality / (n * n) as f64);
        a += product(f.transpose(), pulled.as_ref());
    }
    (0..a.nrows()).for_each(|i| a[(i, i)] += config.tca.mu);
    let cholesky = a.llt(Side::Lower).map_err(|_| {
        Error::invalid("the components' constraint is singular: raise `mu`, or lower `locality`")
    })?;
    // B = R⁻¹ F' H K̃ H F R⁻ᵀ for A = R Rᵀ, by B = Gᵀ G with G = [√(1 − γ) ; √γ Yᵀ] H F R⁻ᵀ.
    let mut whitened = f.transpose().to_owned();
    faer::linalg::triangular_solve::solve_lower_triangular_in_place(
        cholesky.L(),
        whitened.as_mut(),
        crate::parallel(),
    );
    let projected = whitened.transpose().to_owned();
    let centred = centre(projected.clone());
    let labels = Mat::from_fn(n, task.ways, |row, class| {
        f64::from(u8::from(task.labels.get(row).is_some_and(|&label| label == class)))
    });
    let by_label = product(labels.transpose(), centred.as_ref());
    let mut b = product(centred.transpose(), centred.as_ref());
    b *= faer::Scale(1.0 - config.dependence);
    let mut dependent = product(by_label.transpose(), by_label.as_ref());
    dependent *= faer::Scale(config.dependence);
    b += dependent;
    let eigen = b
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::invalid("the components' eigenproblem has no solution: check for huge values"))?;
    let size = b.nrows();
    let values = eigen.S().column_vector();
    let largest = values[size - 1];
    let floor = f64::EPSILON * size as f64 * largest;
    let there = (0..size).rev().take_while(|&i| values[i] > floor).count().min(config.tca.count(n));
    if there == 0 || largest <= 0.0 {
        return Err(Error::invalid("the features do not vary: check for constant input"));
    }
    enough(&config.tca, task, there)?;
    let vectors = Mat::from_fn(size, there, |i, j| eigen.U()[(i, size - 1 - j)]);
    Ok(product(projected.as_ref(), vectors.as_ref()))
}

/// 𝓛 F for the graph of neighbours of the rows of `x`.
fn laplacian_times(x: MatRef<'_, f64>, neighbours: usize, f: MatRef<'_, f64>) -> Mat<f64> {
    let n = x.nrows();
    let products = Kernel::Linear.gram(x);
    let square = |i: usize, j: usize| (products[(i, i)] + products[(j, j)] - 2.0 * products[(i, j)]).max(0.0);
    let nearest: Vec<Vec<usize>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let mut others: Vec<usize> = (0..n).filter(|&j| j != i).collect();
            let count = neighbours.min(others.len());
            if count < others.len() {
                others.select_nth_unstable_by(count, |&a, &b| {
                    square(i, a).total_cmp(&square(i, b)).then(a.cmp(&b))
                });
            }
            others.truncate(count);
            others
        })
        .collect();
    let squares: Vec<f64> = (0..n).flat_map(|i| nearest[i].iter().map(move |&j| square(i, j))).collect();
    let mean = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
    // Each edge once, whichever of its ends names the other.
    let mut edges: Vec<(usize, usize)> =
        (0..n).flat_map(|i| nearest[i].iter().map(move |&j| (i.min(j), i.max(j)))).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut result = Mat::zeros(n, f.ncols());
    for (i, j) in edges {
        let weight = if mean > 0.0 { (-square(i, j) / (2.0 * mean)).exp() } else { 1.0 };
        for column in 0..f.ncols() {
            let difference = weight * (f[(i, column)] - f[(j, column)]);
            result[(i, column)] += difference;
            result[(j, column)] -= difference;
        }
    }
    result
}
