//! Maximum mean discrepancy: how far apart two domains' means are in a kernel's feature space.
//!
//! Gretton, Borgwardt, Rasch, Schölkopf & Smola, "A Kernel Two-Sample Test", JMLR 2012, lemma 6.

use faer::MatRef;

use crate::Kernel;

/// Sums of k over pairs of source, of target, of both; and over the diagonals of the first two.
fn sums(kernel: Kernel, source: MatRef<'_, f64>, target: MatRef<'_, f64>) -> ([f64; 3], [f64; 2]) {
    let (s, t) = (kernel.gram(source), kernel.gram(target));
    let trace = |k: &faer::Mat<f64>| k.diagonal().column_vector().iter().sum();
    ([s.sum(), t.sum(), kernel.matrix(source, target).sum()], [trace(&s), trace(&t)])
}

/// The biased estimate of MMD² (equation 5), tr(K L): 0 or more. Rows are examples.
pub fn mmd2(kernel: Kernel, source: MatRef<'_, f64>, target: MatRef<'_, f64>) -> f64 {
    let ([s, t, both], _) = sums(kernel, source, target);
    let (n, m) = (source.nrows() as f64, target.nrows() as f64);
    s / (n * n) + t / (m * m) - 2.0 * both / (n * m)
}

/// The unbiased estimate of MMD² (equation 3), which may be below 0. Needs two examples of each domain.
pub fn mmd2_unbiased(kernel: Kernel, source: MatRef<'_, f64>, target: MatRef<'_, f64>) -> f64 {
    let ([s, t, both], [own_s, own_t]) = sums(kernel, source, target);
    let (n, m) = (source.nrows() as f64, target.nrows() as f64);
    (s - own_s) / (n * (n - 1.0)) + (t - own_t) / (m * (m - 1.0)) - 2.0 * both / (n * m)
}

/// The mean of the biased estimates for several kernels (Gretton et al., "Optimal Kernel Choice for Large-Scale
/// Two-Sample Tests", NIPS 2012): MMD² of the kernel that is their mean. 0 for none.
pub fn mmd2_of_kernels(kernels: &[Kernel], source: MatRef<'_, f64>, target: MatRef<'_, f64>) -> f64 {
    kernels.iter().map(|&kernel| mmd2(kernel, source, target)).sum::<f64>() / kernels.len().max(1) as f64
}
