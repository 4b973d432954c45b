//! The methods: from source and target as they are to source and target that look alike.

use faer::{Mat, MatRef};
use kshot::{Error, Result};

use crate::basis::{KernelFeatures, Task, domains, picked, to_unit_length};
use crate::components::{Components, centre, product};
use crate::config::{CommonOptions, JdaOptions, KernelKind, SstcaOptions, TcaOptions, Width};
use crate::kernel::Kernel;
use crate::sstca;

/// How source and target are made alike.
#[derive(Clone, Debug)]
pub enum Method {
    /// Not at all: the floor.
    Nothing,
    /// Principal components of both together.
    Pca(TcaOptions),
    /// Both are centred, and the source is given the target's covariance.
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
    /// The rows of the task, aligned: `[n, components]`. What is said of the classifier and of unit length is for methods
    /// that guess on the way.
    ///
    /// # Errors
    /// When a decomposition fails, the examples do not vary, or have fewer components than asked for.
    pub fn align(&self, task: &Task<'_>, common: &CommonOptions) -> Result<Mat<f64>> {
        match self {
            Self::Nothing => Ok(task.x.to_owned()),
            Self::Coral { ridge } => coral(task, *ridge),
            Self::Pca(config) => {
                let nothing = Mat::zeros(task.x.nrows(), 1);
                Ok(KernelFeatures::new(config, task.x)?.components(config, task, nothing.as_ref())?.projected)
            }
            Self::Tca(config) => Ok(tca(config, task)?.components.projected),
            Self::Sstca(config) => sstca::align(config, task),
            Self::Jda(config) => jda(config, task, common),
        }
    }

    /// What a task of so many labelled and asked rows takes, where that is more than some seconds or gigabytes.
    pub(crate) fn cost(&self, known: usize, asked: usize, features: usize) -> Option<String> {
        const MANY: f64 = 2e10;
        const LARGE: f64 = 1e9;
        let (n, pairs) = (known + asked, known as f64 * asked as f64);
        let (distances, lower) = match self {
            Self::Jda(config) => (config.iterations as f64 * pairs, "`iterations` or `components`"),
            Self::Sstca(config) if config.locality > 0.0 => (pairs + (n as f64).powi(2), "`locality = 0`"),
            _ => (pairs, "`components`"),
        };
        let config = self.components();
        let width = config.map_or(features, |config| config.width.count(n).min(features));
        let kernels = self.kernels(n);
        let mut parts = Vec::new();
        if distances * width as f64 >= MANY {
            parts.push(format!("{distances:.0e} distances of {width} values (fewer with {lower})"));
        }
        if kernels >= LARGE {
            parts.push(format!("about {:.1} GB for kernels (fewer with `landmarks`)", 1e-9 * kernels));
        }
        (!parts.is_empty()).then(|| parts.join(" and "))
    }

    /// Bytes of its kernel matrices for a task of `n` rows.
    fn kernels(&self, n: usize) -> f64 {
        let config = self.components().filter(|config| config.kernel != KernelKind::Linear);
        config.map_or(0.0, |config| 3.0 * 8.0 * n as f64 * config.landmarks(n) as f64)
    }

    /// Bytes of all its matrices for a task of `n` rows: kernels, covariances with their decomposition, and what distances
    /// between domains take.
    pub(crate) fn bytes(&self, n: usize, features: usize) -> u64 {
        let square = |side: usize| 8.0 * (side as f64).powi(2);
        (self.kernels(n) + 6.0 * square(n.min(features)) + 3.0 * square(n.min(crate::THINNED))) as u64
    }

    /// How many components it projects to, where it does.
    pub(crate) fn width(&self) -> Option<&Width> {
        self.components().map(|config| &config.width)
    }

    /// The same with another number of components, where it has any.
    pub(crate) fn with_components(&self, count: usize) -> Self {
        let mut method = self.clone();
        if let Self::Pca(config)
        | Self::Tca(config)
        | Self::Sstca(SstcaOptions { tca: config, .. })
        | Self::Jda(JdaOptions { tca: config, .. }) = &mut method
        {
            config.width = Width { components: Some(count), search: Vec::new() };
        }
        method
    }

    /// The options of its components, where it has any.
    pub(crate) fn components(&self) -> Option<&TcaOptions> {
        match self {
            Self::Nothing | Self::Coral { .. } => None,
            Self::Pca(config) | Self::Tca(config) => Some(config),
            Self::Sstca(config) => Some(&config.tca),
            Self::Jda(config) => Some(&config.tca),
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
fn jda(config: &JdaOptions, task: &Task<'_>, common: &CommonOptions) -> Result<Mat<f64>> {
    let n = task.x.nrows();
    let basis = KernelFeatures::new(&config.tca, task.x)?;
    let marginal = domains(task.sources, n);
    // The labels of all rows, as far as they are known or guessed.
    let mut labels = task.labels.to_vec();
    // Labels of the source that are not known stay so: its means are those of what it says itself.
    let asked: Vec<usize> = (0..n).filter(|&row| task.labels[row].is_none()).collect();
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
        if common.unit_length {
            to_unit_length(&mut aligned);
        }
        let guessed = common.classifier.scores(aligned.as_ref(), task.labels, task.ways);
        for (scores, &row) in guessed.outer_iter().zip(asked.iter()) {
            if row >= task.sources {
                labels[row] = Some(kshot::learner::argmax(scores.iter().copied()));
            }
        }
    }
    Ok(aligned)
}

/// Correlation alignment (Sun, Feng & Saenko 2016, algorithm 1): both domains are moved to a mean of zero, as the paper's
/// features have, and the source is whitened, then given the target's covariance, both with the ridge λ on their
/// diagonals.
fn coral(task: &Task<'_>, ridge: f64) -> Result<Mat<f64>> {
    if task.targets() < 2 {
        return Err(Error::invalid("one target example has no covariance: ask two queries or more together"));
    }
    let source = centre(task.x.subrows(0, task.sources).to_owned());
    let target = centre(task.x.subrows(task.sources, task.targets()).to_owned());
    let whitened = with_covariance_power(source.as_ref(), source.as_ref(), ridge, -0.5)?;
    let coloured = with_covariance_power(whitened.as_ref(), target.as_ref(), ridge, 0.5)?;
    let mut aligned = Mat::zeros(task.x.nrows(), task.x.ncols());
    aligned.subrows_mut(0, task.sources).copy_from(&coloured);
    aligned.subrows_mut(task.sources, task.targets()).copy_from(&target);
    Ok(aligned)
}

/// `rows (cov(of) + λ I)^power` for centred `of`. With its thin singular value decomposition U S Vᵀ that power is
/// λ^power I + V ((S²/(n−1) + λ)^power − λ^power) Vᵀ: no d × d matrix where there are fewer examples than features.
fn with_covariance_power(
    rows: MatRef<'_, f64>,
    of: MatRef<'_, f64>,
    ridge: f64,
    power: f64,
) -> Result<Mat<f64>> {
    let svd = of
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
