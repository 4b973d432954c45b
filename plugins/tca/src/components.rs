//! The eigenproblem that TCA and JDA share, without the n³ nobody needs.
//!
//! Features F `[n, p]` are to be projected to Z = F W so that Z varies while the domains look alike: maximise
//! tr(Wᵀ Fᵀ H F W) under Wᵀ (Fᵀ M F + μ I) W = I, with H the centring matrix. With F = K, a kernel matrix, this is TCA
//! (Pan et al. 2011, equation 8, and its solution as a generalized eigenproblem); with F = X it is the primal form of
//! Long et al. 2013.
//!
//! M = E Eᵀ has low rank r: 1 for the difference of two means, one more for each class in JDA. So with the thin
//! singular value decomposition Fᵀ E = V S Qᵀ the constraint's matrix A = μ I + V S² Vᵀ has a closed inverse root,
//! A^{-1/2} = μ^{-1/2} (I − V D Vᵀ), D = 1 − (1 + S²/μ)^{-1/2}, and W = A^{-1/2} Y for the top eigenvectors Y of the
//! symmetric B = A^{-1/2} Fᵀ H F A^{-1/2}. Those are found in a block Krylov space by matrix products only (block
//! Lanczos with full orthogonalisation; Golub & Underwood 1977), O(n² m) instead of O(n³), until every residual
//! ‖B y − λ y‖ is below 10⁻⁸ λ₁.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Side};
use kshot::rng::stream;
use kshot::{Error, Result};
use rand::Rng as _;

use crate::parallel;

/// What is projected.
#[derive(Clone, Copy)]
pub enum Features<'a> {
    /// A symmetric kernel matrix, `[n, n]`.
    Gram(MatRef<'a, f64>),
    /// Any features, `[n, p]`.
    Plain(MatRef<'a, f64>),
}

/// The projection W with what it maximises.
pub struct Components {
    /// λ, from the largest.
    pub eigenvalues: Vec<f64>,
    /// W, `[p, m]`, with Wᵀ A W = I.
    pub weights: Mat<f64>,
    /// Z = F W, `[n, m]`.
    pub projected: Mat<f64>,
}

/// Up to this width all of B is solved at once: no basis is smaller than that by much.
const DENSE: usize = 400;
/// Columns of a Krylov step: the kernel matrix is read once a step, which takes as long as 8 columns' arithmetic.
const BLOCK: usize = 8;
/// Largest residual, as a share of the largest eigenvalue.
const TOLERANCE: f64 = 1e-8;

/// The leading components, at most `count`: fewer where the features vary in fewer directions. `e` is E, `[n, r]`.
///
/// # Errors
/// When the features vary in no direction, or a decomposition fails.
pub fn leading_components(
    features: Features<'_>,
    e: MatRef<'_, f64>,
    mu: f64,
    count: usize,
) -> Result<Components> {
    let f = features.matrix();
    let width = f.ncols();
    let problem = Problem::new(features, e, mu)?;
    // A Krylov space that finds many components would not be much smaller.
    let found = if width <= DENSE.max(8 * count) {
        problem.solve(&Basis::all(width, f), count)?
    } else {
        problem.solve_in_krylov_space(count)?
    };
    let largest = found.eigenvalues.first().copied().unwrap_or(0.0);
    let floor = f64::EPSILON * width as f64 * largest;
    let there = found.eigenvalues.iter().take_while(|&&value| value > floor).count();
    if there == 0 {
        return Err(Error::invalid(
            "the features do not vary: the kernel matrix has no direction to project on; check for constant input",
        ));
    }
    let vectors = found.vectors.subcols(0, there);
    Ok(Components {
        weights: problem.whiten(vectors),
        projected: found.projected.subcols(0, there).to_owned(),
        eigenvalues: found.eigenvalues[..there].to_vec(),
    })
}

impl<'a> Features<'a> {
    fn matrix(self) -> MatRef<'a, f64> {
        match self {
            Self::Gram(matrix) | Self::Plain(matrix) => matrix,
        }
    }
}

/// `a b`.
pub(crate) fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    matmul(&mut c, Accum::Replace, a, b, 1.0, parallel());
    c
}

/// `c − a b`.
fn less_product(mut c: Mat<f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    matmul(&mut c, Accum::Add, a, b, -1.0, parallel());
    c
}

/// Subtracts each column's mean: H z.
pub(crate) fn centre(mut z: Mat<f64>) -> Mat<f64> {
    let n = z.nrows() as f64;
    for column in z.col_iter_mut() {
        let mean = column.as_ref().iter().sum::<f64>() / n;
        column.iter_mut().for_each(|value| *value -= mean);
    }
    z
}

/// Orthonormal directions Q in the space of weights, `[p, m]`, with F Q `[n, m]`.
struct Basis {
    directions: Mat<f64>,
    projected: Mat<f64>,
}

impl Basis {
    /// All directions.
    fn all(width: usize, f: MatRef<'_, f64>) -> Self {
        Self { directions: Mat::identity(width, width), projected: f.to_owned() }
    }
}

/// Eigenpairs of B.
struct Found {
    eigenvalues: Vec<f64>,
    /// Y, `[p, m]`.
    vectors: Mat<f64>,
    /// F A^{-1/2} Y, `[n, m]`.
    projected: Mat<f64>,
}

struct Problem<'a> {
    features: Features<'a>,
    mu: f64,
    /// V, `[p, r]`.
    constrained: Mat<f64>,
    /// F V, `[n, r]`.
    constrained_projected: Mat<f64>,
    /// D, r values.
    shrink: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(features: Features<'a>, e: MatRef<'_, f64>, mu: f64) -> Result<Self> {
        let f = features.matrix();
        let svd = product(f.transpose(), e).thin_svd().map_err(|_| {
            Error::invalid("the difference of the domains has no singular value decomposition")
        })?;
        let shrink =
            svd.S().column_vector().iter().map(|s| 1.0 - (1.0 + s * s / mu).sqrt().recip()).collect();
        let constrained = svd.U().to_owned();
        let constrained_projected = product(f, constrained.as_ref());
        Ok(Self { features, mu, constrained, constrained_projected, shrink })
    }

    /// D Vᵀ x.
    fn shrunk(&self, x: MatRef<'_, f64>) -> Mat<f64> {
        let mut parts = product(self.constrained.transpose(), x);
        for (i, factor) in self.shrink.iter().enumerate() {
            parts.row_mut(i).iter_mut().for_each(|part| *part *= factor);
        }
        parts
    }

    fn scaled(&self, mut x: Mat<f64>) -> Mat<f64> {
        let scale = self.mu.sqrt().recip();
        x.col_iter_mut().for_each(|column| column.iter_mut().for_each(|value| *value *= scale));
        x
    }

    /// A^{-1/2} x.
    fn whiten(&self, x: MatRef<'_, f64>) -> Mat<f64> {
        self.scaled(less_product(x.to_owned(), self.constrained.as_ref(), self.shrunk(x).as_ref()))
    }

    /// F A^{-1/2} Q.
    fn whitened_projection(&self, basis: &Basis) -> Mat<f64> {
        let shrunk = self.shrunk(basis.directions.as_ref());
        self.scaled(less_product(
            basis.projected.clone(),
            self.constrained_projected.as_ref(),
            shrunk.as_ref(),
        ))
    }

    /// The leading eigenpairs of B within a basis (Rayleigh-Ritz).
    fn solve(&self, basis: &Basis, count: usize) -> Result<Found> {
        let projected = self.whitened_projection(basis);
        let centred = centre(projected.clone());
        let within = product(centred.transpose(), centred.as_ref());
        let eigen = within.self_adjoint_eigen(Side::Lower).map_err(|_| {
            Error::invalid("the components' eigenproblem has no solution: check the input for huge values")
        })?;
        let size = within.nrows();
        let count = count.min(size);
        let eigenvalues = (0..count).map(|k| eigen.S()[size - 1 - k].max(0.0)).collect();
        let chosen = Mat::from_fn(size, count, |i, k| eigen.U()[(i, size - 1 - k)]);
        Ok(Found {
            eigenvalues,
            vectors: product(basis.directions.as_ref(), chosen.as_ref()),
            projected: product(projected.as_ref(), chosen.as_ref()),
        })
    }

    /// Grows a block Krylov space until the leading eigenpairs within it are eigenpairs of B.
    fn solve_in_krylov_space(&self, count: usize) -> Result<Found> {
        let f = self.features.matrix();
        let width = f.ncols();
        let mut krylov = Krylov::start(self);
        let mut goal = (6 * count).clamp(DENSE / 4, DENSE);
        loop {
            let exhausted = krylov.grow(self.features, goal.min(width));
            let basis = krylov.basis(f.nrows());
            let have = basis.directions.ncols();
            let found = self.solve(&basis, count)?;
            if exhausted || have >= width || self.largest_residual(&found) <= TOLERANCE * found.eigenvalues[0]
            {
                return Ok(found);
            }
            goal = have + have / 4;
        }
    }

    /// max ‖B y − λ y‖.
    fn largest_residual(&self, found: &Found) -> f64 {
        let centred = centre(found.projected.clone());
        let image = self.whiten(product(self.features.matrix().transpose(), centred.as_ref()).as_ref());
        let residual = |k: usize| {
            let (image, y) = (image.col(k), found.vectors.col(k));
            image
                .iter()
                .zip(y.iter())
                .map(|(b, y)| (b - found.eigenvalues[k] * y).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        (0..found.eigenvalues.len()).map(residual).fold(0.0, f64::max)
    }
}

/// A block Krylov space of the kernel matrix (or of Fᵀ F), block by block: what B does beyond that has low rank, and
/// the first block holds its directions.
struct Krylov {
    /// Orthonormal blocks, `[p, ≤ BLOCK]`.
    blocks: Vec<Mat<f64>>,
    /// F times each block but the last.
    projected: Vec<Mat<f64>>,
}

impl Krylov {
    fn start(problem: &Problem<'_>) -> Self {
        let f = problem.features.matrix();
        let mut rng = stream(0, "krylov", 0);
        let ones = product(f.transpose(), Mat::<f64>::full(f.nrows(), 1, 1.0).as_ref());
        let given = problem.constrained.ncols();
        let block = Mat::from_fn(f.ncols(), given + 1 + BLOCK, |i, j| match j {
            j if j < given => problem.constrained[(i, j)],
            j if j == given => ones[(i, 0)],
            _ => rng.random_range(-1.0..1.0),
        });
        Self { blocks: vec![orthonormal(block)], projected: Vec::new() }
    }

    fn len(&self) -> usize {
        self.blocks.iter().map(Mat::ncols).sum()
    }

    /// Adds blocks until there are `goal` directions; whether there are no further ones.
    fn grow(&mut self, features: Features<'_>, goal: usize) -> bool {
        loop {
            let last = &self.blocks[self.blocks.len() - 1];
            if self.projected.len() < self.blocks.len() {
                self.projected.push(product(features.matrix(), last.as_ref()));
            }
            if self.len() >= goal {
                return false;
            }
            let image = &self.projected[self.projected.len() - 1];
            let mut next = match features {
                Features::Gram(_) => image.clone(),
                Features::Plain(f) => product(f.transpose(), image.as_ref()),
            };
            let size = next.norm_l2();
            // Twice is enough (Parlett 1998, section 6.9).
            for _ in 0..2 {
                for block in &self.blocks {
                    let parts = product(block.transpose(), next.as_ref());
                    next = less_product(next, block.as_ref(), parts.as_ref());
                }
            }
            if next.norm_l2() <= f64::EPSILON * 10.0 * size {
                return true;
            }
            let next = orthonormal(next);
            self.blocks.push(next);
        }
    }

    fn basis(&self, rows: usize) -> Basis {
        let width = self.blocks[0].nrows();
        let join = |blocks: &[Mat<f64>], rows: usize| {
            let mut all = Mat::zeros(rows, blocks.iter().map(Mat::ncols).sum());
            let mut at = 0;
            for block in blocks {
                all.subcols_mut(at, block.ncols()).copy_from(block);
                at += block.ncols();
            }
            all
        };
        Basis { directions: join(&self.blocks, width), projected: join(&self.projected, rows) }
    }
}

/// An orthonormal basis of what the columns span; columns that add nothing are left out.
fn orthonormal(block: Mat<f64>) -> Mat<f64> {
    let qr = block.qr();
    let q = qr.compute_thin_Q();
    let r = qr.thin_R();
    let longest = (0..q.ncols()).map(|j| r[(j, j)].abs()).fold(0.0, f64::max);
    let kept: Vec<usize> = (0..q.ncols()).filter(|&j| r[(j, j)].abs() > 1e-12 * longest).collect();
    Mat::from_fn(q.nrows(), kept.len(), |i, j| q[(i, kept[j])])
}
