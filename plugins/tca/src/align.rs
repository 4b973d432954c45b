//! The methods: from source and target as they are to source and target that look alike.

use faer::{Mat, MatRef};
use kshot::{Error, Result};

use crate::basis::{KernelFeatures, Task, domains, picked, to_unit_length};
use crate::classifier::nearest;
use crate::components::{Components, centre, product};
use crate::config::{JdaOptions, SstcaOptions, TcaOptions};
use crate::kernel::Kernel;
use crate::sstca;

/// How source and target are made alike.
#[derive(Clone, Debug)]
pub enum Method {
    /// Not at all: the floor.
    Nothing,
    /// Principal components of both together.
    Pca(TcaOptions),
    /// The source is given the target's covariance.
    Coral {
        /// Added to the covariances' diagonals.
        ridge: f64,
    },
    /// Components in which the means are alike.
    Tca(TcaOptions),
    /// The same, which also depend on the labels and keep neighbours together.
    Sstca(SstcaOptions),
    /// Components in which the means are alike, of all and of each class.
    Jda(JdaOptions),
}

impl Method {
    /// The rows of the task, aligned: `[n, components]`.
    ///
    /// # Errors
    /// When a decomposition fails, the examples do not vary, or have fewer components than asked for.
    pub fn align(&self, task: &Task<'_>, unit_length: bool) -> Result<Mat<f64>> {
        match self {
            Self::Nothing => Ok(task.x.to_owned()),
            Self::Coral { ridge } => coral(task, *ridge),
            Self::Pca(config) => {
                let nothing = Mat::zeros(task.x.nrows(), 1);
                Ok(KernelFeatures::new(config, task.x)?.components(config, task, nothing.as_ref())?.projected)
            }
            Self::Tca(config) => Ok(tca(config, task)?.components.projected),
            Self::Sstca(config) => sstca::align(config, task),
            Self::Jda(config) => jda(config, task, unit_length),
        }
    }
}

/// Transfer components of one task, to be applied to others.
pub struct Fitted {
    /// Of the task's rows.
    pub components: Components,
    /// Rows that the components combine the kernel of; none for a linear one.
    basis: Option<(Kernel, Mat<f64>)>,
}

impl Fitted {
    /// Examples that were not there when the components were found, `[m, d]`, projected: `[m, components]`.
    pub fn transform(&self, x: MatRef<'_, f64>) -> Mat<f64> {
        match &self.basis {
            None => product(x, self.components.weights.as_ref()),
            Some((kernel, rows)) => {
                product(kernel.matrix(x, rows.as_ref()).as_ref(), self.components.weights.as_ref())
            }
        }
    }
}

/// Transfer components of a task (Pan et al. 2011, section III).
///
/// # Errors
/// When the examples do not vary, or in fewer directions than components were asked for.
pub fn tca(config: &TcaOptions, task: &Task<'_>) -> Result<Fitted> {
    let basis = KernelFeatures::new(config, task.x)?;
    let mut components = basis.components(config, task, domains(task.sources, task.x.nrows()).as_ref())?;
    if let Some(rotation) = &basis.rotation {
        components.weights = product(rotation.as_ref(), components.weights.as_ref());
    }
    let rows = basis.rows.as_ref().map(|(kernel, rows)| (*kernel, picked(task.x, rows)));
    Ok(Fitted { components, basis: rows })
}

/// Joint distribution adaptation (Long et al. 2013, algorithm 1): M = C M₀ + Σ_c M_c over its norm, where M_c is the
/// difference of the means of class c, by labels in the source and guesses in the target.
fn jda(config: &JdaOptions, task: &Task<'_>, unit_length: bool) -> Result<Mat<f64>> {
    let n = task.x.nrows();
    let basis = KernelFeatures::new(&config.tca, task.x)?;
    let marginal = domains(task.sources, n);
    // The labels of all rows, as far as they are known or guessed.
    let mut labels: Vec<Option<usize>> = (0..n).map(|row| task.labels.get(row).copied()).collect();
    let mut aligned = Mat::new();
    for _ in 0..config.iterations {
        let mut columns = vec![marginal.col(0).to_owned()];
        columns[0] *= (task.ways as f64).sqrt();
        for class in 0..task.ways {
            let of =
                |rows: std::ops::Range<usize>| rows.filter(|&row| labels[row] == Some(class)).count() as f64;
            let (source, target) = (of(0..task.sources), of(task.sources..n));
            // A class that nobody is guessed to be of has no mean to compare.
            if source > 0.0 && target > 0.0 {
                columns.push(faer::Col::from_fn(n, |row| match labels[row] == Some(class) {
                    false => 0.0,
                    true if row < task.sources => 1.0 / source,
                    true => -1.0 / target,
                }));
            }
        }
        let mut e = Mat::from_fn(n, columns.len(), |row, column| columns[column][row]);
        // ‖E Eᵀ‖ = ‖Eᵀ E‖ in the Frobenius norm.
        let norm = product(e.transpose(), e.as_ref()).norm_l2();
        e *= faer::Scale(norm.sqrt().recip());
        aligned = basis.components(&config.tca, task, e.as_ref())?.projected;
        if unit_length {
            to_unit_length(&mut aligned);
        }
        let known = task.labels.len();
        let guessed = nearest(aligned.as_ref(), task.labels, task.ways);
        for (row, scores) in guessed.outer_iter().enumerate() {
            labels[known + row] = Some(kshot::learner::argmax(scores.iter().copied()));
        }
    }
    Ok(aligned)
}

/// Correlation alignment (Sun, Feng & Saenko 2016, algorithm 1): the source is whitened, then given the target's
/// covariance, both with the ridge λ on their diagonals. The target stays as it is.
fn coral(task: &Task<'_>, ridge: f64) -> Result<Mat<f64>> {
    let (source, target) = (task.x.subrows(0, task.sources), task.x.subrows(task.sources, task.targets()));
    let whitened = with_covariance_power(source, source, ridge, -0.5)?;
    let coloured = with_covariance_power(whitened.as_ref(), target, ridge, 0.5)?;
    let mut aligned = task.x.to_owned();
    aligned.subrows_mut(0, task.sources).copy_from(&coloured);
    Ok(aligned)
}

/// `rows (cov(of) + λ I)^power`. With the thin singular value decomposition of the centred examples, U S Vᵀ, that power
/// is λ^power I + V ((S²/(n−1) + λ)^power − λ^power) Vᵀ: no d × d matrix where there are fewer examples than features.
fn with_covariance_power(
    rows: MatRef<'_, f64>,
    of: MatRef<'_, f64>,
    ridge: f64,
    power: f64,
) -> Result<Mat<f64>> {
    let centred = centre(of.to_owned());
    let svd = centred
        .thin_svd()
        .map_err(|_| Error::invalid("a domain's covariance has no decomposition: check for huge values"))?;
    let (n, base) = ((of.nrows().max(2) - 1) as f64, ridge.powf(power));
    let mut parts = product(rows, svd.V());
    for (column, s) in parts.col_iter_mut().zip(svd.S().column_vector().iter()) {
        let factor = (s * s / n + ridge).powf(power) - base;
        column.iter_mut().for_each(|value| *value *= factor);
    }
    let mut result = product(parts.as_ref(), svd.V().transpose());
    for (column, row) in result.col_iter_mut().zip(rows.col_iter()) {
        column.iter_mut().zip(row.iter()).for_each(|(value, x)| *value += base * x);
    }
    Ok(result)
}
