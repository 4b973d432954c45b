//! Semi-supervised transfer component analysis (Pan et al. 2011, section IV).
//!
//! Components W that maximise tr(Wᵀ F' H K̃ H F W) under Wᵀ (F' (e eᵀ + λ 𝓛) F + μ I) W = I. K̃ = γ K_yy + (1 − γ) I asks
//! that they depend on the labels of the labelled (K_yy is 1 for two of the same class, equation 15); 𝓛 is the Laplacian
//! of the graph of neighbours (equation 17), and λ has taken up the paper's 1/n². The constraint has full rank, so this
//! is solved whole: O(p³) for p features or examples.

use faer::linalg::triangular_solve::solve_lower_triangular_in_place as solve_lower;
use faer::linalg::triangular_solve::solve_upper_triangular_in_place as solve_upper;
use faer::{Mat, Scale, Side};
use kshot::{Error, Result};

use crate::basis::{KernelFeatures, Task, domains, enough};
use crate::components::{centre, product};
use crate::config::SstcaOptions;
use crate::neighbours::laplacian_times;
use crate::parallel;

pub(crate) fn align(config: &SstcaOptions, task: &Task<'_>) -> Result<Mat<f64>> {
    let n = task.x.nrows();
    let basis = KernelFeatures::new(&config.tca, task.x)?;
    let f = basis.features();
    // A = F' (e eᵀ + λ 𝓛) F + μ I.
    let difference = product(f.transpose(), domains(task.sources, n).as_ref());
    let mut a = product(difference.as_ref(), difference.transpose());
    if config.locality > 0.0 {
        let pulled = laplacian_times(task.x, config.neighbours, f);
        a += Scale(config.locality) * product(f.transpose(), pulled.as_ref());
    }
    (0..a.nrows()).for_each(|i| a[(i, i)] += config.tca.mu);
    let cholesky = a.llt(Side::Lower).map_err(|_| {
        Error::invalid("the components' constraint is singular: raise `mu`, or lower `locality`")
    })?;
    // F' H K̃ H F, by K̃ = γ Y Yᵀ + (1 − γ) I.
    let centred = centre(f.to_owned());
    let labels =
        Mat::from_fn(n, task.ways, |row, class| f64::from(u8::from(task.labels[row] == Some(class))));
    let by_label = product(labels.transpose(), centred.as_ref());
    let mut b = Scale(1.0 - config.dependence) * product(centred.transpose(), centred.as_ref());
    b += Scale(config.dependence) * product(by_label.transpose(), by_label.as_ref());
    drop(centred);
    // B = R⁻¹ F' H K̃ H F R⁻ᵀ for A = R Rᵀ, and W = R⁻ᵀ Y for its eigenvectors Y.
    solve_lower(cholesky.L(), b.as_mut(), parallel());
    let mut b = b.transpose().to_owned();
    solve_lower(cholesky.L(), b.as_mut(), parallel());
    let eigen = b
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::invalid("the components' eigenproblem has no solution: check for huge values"))?;
    let size = b.nrows();
    let values = eigen.S().column_vector();
    let largest = values[size - 1];
    let floor = f64::EPSILON * size as f64 * largest;
    let there = (0..size).rev().take_while(|&i| values[i] > floor).count().min(config.tca.width.count(n));
    if there == 0 || largest <= 0.0 {
        return Err(Error::invalid("the features do not vary: check for constant input"));
    }
    enough(&config.tca, task, there)?;
    let mut weights = Mat::from_fn(size, there, |i, j| eigen.U()[(i, size - 1 - j)]);
    solve_upper(cholesky.L().transpose(), weights.as_mut(), parallel());
    Ok(product(f, weights.as_ref()))
}
