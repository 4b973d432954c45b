//! A task, and what its components are combinations of: what all methods with components share.

use faer::{Mat, MatRef};
use kshot::{Error, Result};

use crate::components::{Components, Features, leading_components, product};
use crate::config::TcaOptions;
use crate::kernel::Kernel;

/// Source and target of a task.
pub struct Task<'a> {
    /// Rows of features: the labelled source, the labelled target, the queries.
    pub x: MatRef<'a, f64>,
    /// Labels of the rows; none of those that are asked.
    pub labels: &'a [Option<usize>],
    /// How many rows are of the source.
    pub sources: usize,
    /// Number of classes.
    pub ways: usize,
}

impl Task<'_> {
    pub(crate) fn targets(&self) -> usize {
        self.x.nrows() - self.sources
    }
}

/// The largest kernel matrix there may be; a few of its size are needed at a time.
const MOST_BYTES: f64 = 8e9;

/// What components are combinations of.
pub(crate) struct KernelFeatures<'a> {
    /// Examples whose kernel the features are; none where examples are taken as they are.
    pub(crate) rows: Option<(Kernel, Vec<usize>)>,
    features: Option<Mat<f64>>,
    /// V where the features are X V, the coordinates of fewer examples than features in the space they span. Nothing
    /// is lost: components have no part outside of it.
    pub(crate) rotation: Option<Mat<f64>>,
    x: MatRef<'a, f64>,
}

impl<'a> KernelFeatures<'a> {
    pub(crate) fn new(config: &TcaOptions, x: MatRef<'a, f64>) -> Result<Self> {
        let (kernel, n) = (config.kernel(x), x.nrows());
        if kernel == Kernel::Linear {
            if x.ncols() <= n {
                return Ok(Self { rows: None, features: None, rotation: None, x });
            }
            let svd = x.thin_svd().map_err(|_| {
                Error::invalid("the examples have no singular value decomposition: check for huge values")
            })?;
            let rotation = svd.V().to_owned();
            return Ok(Self {
                rows: None,
                features: Some(product(x, rotation.as_ref())),
                rotation: Some(rotation),
                x,
            });
        }
        let landmarks = config.landmarks(n);
        let bytes = 8.0 * n as f64 * landmarks as f64;
        if bytes > MOST_BYTES {
            return Err(Error::invalid(format!(
                "`landmarks` is {landmarks}: their kernel with {n} examples takes {:.0} GB; set {} or fewer",
                bytes / 1e9,
                (MOST_BYTES / 8.0 / n as f64) as usize
            )));
        }
        let rows: Vec<usize> = (0..landmarks).map(|i| i * n / landmarks).collect();
        let features = match landmarks == n {
            true => kernel.gram(x),
            false => kernel.matrix(x, picked(x, &rows).as_ref()),
        };
        Ok(Self { rows: Some((kernel, rows)), features: Some(features), rotation: None, x })
    }

    /// `[n, p]`.
    pub(crate) fn features(&self) -> MatRef<'_, f64> {
        self.features.as_ref().map_or(self.x, Mat::as_ref)
    }

    pub(crate) fn components(
        &self,
        config: &TcaOptions,
        task: &Task<'_>,
        e: MatRef<'_, f64>,
    ) -> Result<Components> {
        let f = self.features();
        let whole = self.rows.is_some() && f.nrows() == f.ncols();
        let features = if whole { Features::Gram(f) } else { Features::Plain(f) };
        let found = leading_components(features, e, config.mu, config.width.count(task.x.nrows()))?;
        enough(config, task, found.eigenvalues.len())?;
        Ok(found)
    }
}

pub(crate) fn picked(x: MatRef<'_, f64>, rows: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), x.ncols(), |i, j| x[(rows[i], j)])
}

/// Refuses fewer components than were asked for.
pub(crate) fn enough(config: &TcaOptions, task: &Task<'_>, there: usize) -> Result<()> {
    match config.width.components {
        Some(asked) if there < asked => Err(Error::invalid(format!(
            "`components` is {asked}, but {} source and {} target examples vary in {there} directions; ask for fewer",
            task.sources,
            task.targets()
        ))),
        _ => Ok(()),
    }
}

/// Scales rows to unit length; rows of zeros stay, and single values, of which no more than the sign would be left.
pub(crate) fn to_unit_length(rows: &mut Mat<f64>) {
    if rows.ncols() < 2 {
        return;
    }
    for row in rows.row_iter_mut() {
        let length = row.norm_l2();
        if length > 0.0 {
            row.iter_mut().for_each(|value| *value /= length);
        }
    }
}

/// e, `[n, 1]`: eᵀ F is the difference of the domains' means (L = e eᵀ in the paper's equation 3).
pub fn domains(sources: usize, n: usize) -> Mat<f64> {
    Mat::from_fn(n, 1, |i, _| if i < sources { 1.0 / sources as f64 } else { -1.0 / (n - sources) as f64 })
}
