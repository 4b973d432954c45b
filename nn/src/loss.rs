//! Losses whose second derivative is needed: value, gradient, and the gradient's change along a direction.

use dfdx::prelude::*;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis as Direction, Zip};

use crate::tape::{TapedMatrix, TapedScalar};
use crate::{Error, Result, head};

/// A mean loss on outputs `[n, features]`.
///
/// ```
/// use kshot_nn::Loss;
/// use ndarray::array;
///
/// let loss = Loss::CrossEntropy { labels: vec![0, 1] };
/// let logits = array![[0.0, 0.0], [0.0, 0.0]];
/// assert!((loss.value(logits.view())? - 2f32.ln()).abs() < 1e-6);
/// // (softmax − one-hot) / n
/// assert_eq!(loss.gradient(logits.view())?, array![[-0.25, 0.25], [0.25, -0.25]]);
/// assert!(loss.value(array![[0.0, 0.0]].view()).is_err(), "two labels for one row");
/// # Ok::<(), kshot_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// Softmax cross-entropy, the mean over rows.
    CrossEntropy {
        /// The class of each row.
        labels: Vec<usize>,
    },
    /// The same to a distribution over the classes for each row: smoothed labels (Szegedy et al., "Rethinking the Inception
    /// Architecture for Computer Vision", CVPR 2016, section 7), labels of mixed examples.
    SoftCrossEntropy {
        /// `[n, classes]`, each row 0 or more and 1 in sum.
        targets: Array2<f32>,
    },
    /// Squared error, the mean over all elements.
    Mse {
        /// What the outputs should be, `[n, features]`.
        targets: Array2<f32>,
    },
}

impl Loss {
    /// Refuses outputs that do not match the labels or targets.
    fn check(&self, outputs: &ArrayView2<'_, f32>) -> Result<()> {
        let (rows, columns) = outputs.dim();
        match self {
            Self::CrossEntropy { labels } if labels.len() != rows => {
                Err(Error::invalid(format!("cross-entropy: {} labels for {rows} outputs", labels.len())))
            }
            Self::CrossEntropy { labels } => match labels.iter().find(|&&label| label >= columns) {
                Some(label) => Err(Error::invalid(format!(
                    "cross-entropy: label {label}, but outputs for {columns} classes"
                ))),
                None => Ok(()),
            },
            Self::SoftCrossEntropy { targets } => {
                check_shape("cross-entropy", targets, [rows, columns])?;
                let is_distribution = |row: ArrayView1<'_, f32>| {
                    row.iter().all(|&share| share >= 0.0) && (row.sum() - 1.0).abs() < 1e-3
                };
                match targets.rows().into_iter().position(|row| !is_distribution(row)) {
                    Some(row) => Err(Error::invalid(format!(
                        "cross-entropy: the targets of row {row} are no distribution: 0 or more, and 1 in sum"
                    ))),
                    None => Ok(()),
                }
            }
            Self::Mse { targets } => check_shape("mean squared error", targets, [rows, columns]),
        }
    }

    /// The loss.
    ///
    /// # Errors
    /// When the outputs' shape does not match the labels or targets, or a label names no class.
    pub fn value(&self, outputs: ArrayView2<'_, f32>) -> Result<f32> {
        self.check(&outputs)?;
        let sum: f64 = match self {
            Self::CrossEntropy { labels } => {
                let row = |(row, &label): (ArrayView1<'_, f32>, &usize)| {
                    let (max, log_sum) = log_sum_exp(row);
                    log_sum - f64::from(row[label] - max)
                };
                outputs.rows().into_iter().zip(labels).map(row).sum::<f64>() / labels.len() as f64
            }
            Self::SoftCrossEntropy { targets } => {
                let row = |(row, targets): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
                    let (max, log_sum) = log_sum_exp(row);
                    let each = |(&share, &v): (&f32, &f32)| f64::from(share) * (log_sum - f64::from(v - max));
                    targets.iter().zip(row).map(each).sum::<f64>()
                };
                let rows = outputs.rows().into_iter().zip(targets.rows());
                rows.map(row).sum::<f64>() / targets.nrows() as f64
            }
            Self::Mse { targets } => {
                let squares = outputs.iter().zip(targets).map(|(&y, &t)| f64::from(y - t).powi(2));
                squares.sum::<f64>() / targets.len() as f64
            }
        };
        Ok(sum as f32)
    }

    /// The gradient in the outputs, `[n, features]`.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn gradient(&self, outputs: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        self.check(&outputs)?;
        Ok(match self {
            Self::CrossEntropy { labels } => {
                let mut gradient = softmax(outputs);
                for (mut row, &label) in gradient.rows_mut().into_iter().zip(labels) {
                    row[label] -= 1.0;
                }
                gradient / labels.len() as f32
            }
            Self::SoftCrossEntropy { targets } => (softmax(outputs) - targets) / targets.nrows() as f32,
            Self::Mse { targets } => (&outputs - targets) * (2.0 / targets.len() as f32),
        })
    }

    /// The loss on dfdx's tape: a head without weights of its own.
    ///
    /// # Errors
    /// As [`Self::value`], and when the device fails.
    pub fn on_tape(&self, outputs: TapedMatrix) -> Result<TapedScalar> {
        match self {
            Self::CrossEntropy { labels } => head::cross_entropy(outputs, labels),
            Self::SoftCrossEntropy { targets } => {
                let &shape = outputs.shape();
                check_shape("cross-entropy", targets, [shape.0, shape.1])?;
                let (values, device) = (targets.iter().copied().collect(), outputs.device().clone());
                let compute = || {
                    let targets = device.try_tensor_from_vec(values, shape)?;
                    let weighted = outputs.try_log_softmax::<Axis<1>>()?.try_mul(targets)?;
                    weighted.try_sum()?.try_mul(-1.0 / shape.0 as f32)
                };
                compute().map_err(|error| Error::device("computing the cross-entropy", error))
            }
            Self::Mse { targets } => head::mean_squared_error(outputs, targets.view()),
        }
    }

    /// The derivative of `gradient` along `direction`, a change `[n, features]` of the outputs.
    ///
    /// # Errors
    /// As [`Self::value`], for `direction` as for the outputs.
    pub fn gradient_tangent(
        &self,
        outputs: ArrayView2<'_, f32>,
        direction: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>> {
        self.check(&outputs)?;
        self.check(&direction)?;
        Ok(match self {
            Self::CrossEntropy { .. } | Self::SoftCrossEntropy { .. } => {
                let mut tangent = softmax(outputs);
                let scale = 1.0 / outputs.nrows() as f32;
                for (mut row, direction) in tangent.rows_mut().into_iter().zip(direction.rows()) {
                    let mean = row.dot(&direction);
                    Zip::from(&mut row).and(direction).for_each(|p, &d| *p *= (d - mean) * scale);
                }
                tangent
            }
            Self::Mse { targets } => &direction * (2.0 / targets.len() as f32),
        })
    }
}

/// Refuses targets of another shape than the outputs.
fn check_shape(what: &str, targets: &Array2<f32>, outputs: [usize; 2]) -> Result<()> {
    let (rows, columns) = targets.dim();
    if [rows, columns] == outputs {
        return Ok(());
    }
    Err(Error::invalid(format!("{what}: targets {:?} for outputs {outputs:?}", [rows, columns])))
}

/// The largest of a row, and the logarithm of the sum of the exponentials of all less it.
fn log_sum_exp(row: ArrayView1<'_, f32>) -> (f32, f64) {
    let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    (max, row.iter().map(|&v| f64::from(v - max).exp()).sum::<f64>().ln())
}

/// Each row's exponentials over their sum.
fn softmax(outputs: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut values = outputs.to_owned();
    for mut row in values.axis_iter_mut(Direction(0)) {
        let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|v| (v - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    values
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// Gradients and their tangents are the differences of what they differentiate.
    #[test]
    fn derivatives_are_differences() {
        let outputs = array![[0.3_f32, -1.2, 0.8], [2.0, 0.1, -0.4]];
        let direction = array![[0.5_f32, 0.2, -0.7], [-0.1, 0.9, 0.4]];
        let step = 1e-2;
        let (ahead, behind) = (&outputs + &(&direction * step), &outputs - &(&direction * step));
        let targets = array![[0.0_f32, 1.0, 0.5], [0.2, 0.2, -1.0]];
        let soft = Loss::SoftCrossEntropy { targets: array![[0.1, 0.2, 0.7], [0.95, 0.0, 0.05]] };
        for loss in [Loss::CrossEntropy { labels: vec![2, 0] }, soft, Loss::Mse { targets }] {
            let difference =
                (loss.value(ahead.view()).unwrap() - loss.value(behind.view()).unwrap()) / (2.0 * step);
            let gradient = loss.gradient(outputs.view()).unwrap();
            assert!((difference - (&gradient * &direction).sum()).abs() < 1e-4);
            let difference =
                (loss.gradient(ahead.view()).unwrap() - loss.gradient(behind.view()).unwrap()) / (2.0 * step);
            let tangent = loss.gradient_tangent(outputs.view(), direction.view()).unwrap();
            assert!((difference - tangent).iter().all(|d| d.abs() < 1e-4));
        }
    }

    #[test]
    fn targets_of_one_class_are_labels_and_others_mix_their_losses_on_the_tape_too() {
        let outputs = array![[0.3_f32, -1.2, 0.8], [2.0, 0.1, -0.4]];
        let of = |labels: Vec<usize>| Loss::CrossEntropy { labels }.value(outputs.view()).unwrap();
        let soft = |targets: Array2<f32>| Loss::SoftCrossEntropy { targets };
        let value = |targets: Array2<f32>| soft(targets).value(outputs.view()).unwrap();
        assert_eq!(value(array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), of(vec![2, 0]));
        let mixed = array![[0.0, 0.25, 0.75], [0.75, 0.0, 0.25]];
        assert!((value(mixed.clone()) - 0.75 * of(vec![2, 0]) - 0.25 * of(vec![1, 2])).abs() < 1e-6);
        let device = crate::tape::Dev::default();
        let taped = device.tensor_from_vec(outputs.iter().copied().collect(), (2, 3));
        let loss = soft(mixed.clone()).on_tape(taped.leaky_traced()).unwrap();
        assert!((loss.array() - value(mixed)).abs() < 1e-6);
    }

    #[test]
    fn mismatches_are_refused() {
        let outputs = Array2::<f32>::zeros((2, 3));
        assert!(Loss::CrossEntropy { labels: vec![0] }.value(outputs.view()).is_err());
        assert!(Loss::CrossEntropy { labels: vec![0, 3] }.gradient(outputs.view()).is_err());
        assert!(Loss::Mse { targets: Array2::zeros((2, 2)) }.value(outputs.view()).is_err());
        let none = Loss::SoftCrossEntropy { targets: Array2::zeros((2, 3)) };
        let error = none.value(outputs.view()).unwrap_err().to_string();
        assert!(error.contains("row 0 are no distribution"), "{error}");
    }
}
