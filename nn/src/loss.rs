//! Losses whose second derivative is needed: value, gradient, and the gradient's change along a direction.

use ndarray::{Array2, ArrayView2, Axis, Zip};

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
            Self::Mse { targets } if targets.dim() != outputs.dim() => Err(Error::invalid(format!(
                "mean squared error: targets {:?} for outputs {:?}",
                targets.dim(),
                outputs.dim()
            ))),
            Self::Mse { .. } => Ok(()),
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
                let row = |(row, &label): (ndarray::ArrayView1<'_, f32>, &usize)| {
                    let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                    let sum: f64 = row.iter().map(|&v| f64::from(v - max).exp()).sum();
                    sum.ln() - f64::from(row[label] - max)
                };
                outputs.rows().into_iter().zip(labels).map(row).sum::<f64>() / labels.len() as f64
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
            Self::CrossEntropy { labels } => {
                let mut tangent = softmax(outputs);
                let scale = 1.0 / labels.len() as f32;
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

/// Each row's exponentials over their sum.
fn softmax(outputs: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut values = outputs.to_owned();
    for mut row in values.axis_iter_mut(Axis(0)) {
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
        for loss in [Loss::CrossEntropy { labels: vec![2, 0] }, Loss::Mse { targets }] {
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
    fn mismatches_are_refused() {
        let outputs = Array2::<f32>::zeros((2, 3));
        assert!(Loss::CrossEntropy { labels: vec![0] }.value(outputs.view()).is_err());
        assert!(Loss::CrossEntropy { labels: vec![0, 3] }.gradient(outputs.view()).is_err());
        assert!(Loss::Mse { targets: Array2::zeros((2, 2)) }.value(outputs.view()).is_err());
    }
}
