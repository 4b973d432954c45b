//! Multinomial logistic regression (Tian et al. 2020 on features of unit length; here as they are, or so).

use kshot::Result;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{one_hot, orthonormal, softmax, unit};
use crate::{Classifier, Head, Support};

/// Weights W and bias b of least ½ ‖W‖² + C Σ cross-entropy(Z W + b), scikit-learn's objective, by Newton's method with
/// conjugate gradients (Nocedal & Wright 2006, algorithm 7.1).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Logistic {
    /// C: how much an example counts against ½ ‖W‖².
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub c: f64,
    /// Whether features are scaled to unit length first.
    pub unit_length: bool,
}

impl Default for Logistic {
    fn default() -> Self {
        Self { c: 1.0, unit_length: false }
    }
}

impl Head for Logistic {
    const TRANSDUCTIVE: bool = false;

    fn fit(&self, Support { z, labels, ways }: Support) -> Result<Classifier> {
        let unit_length = self.unit_length;
        let prepare = move |z: ArrayView2<'_, f64>| if unit_length { unit(z) } else { z.to_owned() };
        let with_constant = |z: Array2<f64>| concatenate![Axis(1), z, Array2::ones((z.nrows(), 1))];
        let (z, y) = (prepare(z.view()), one_hot(&labels, ways));
        // Weights have no part outside of what the examples span: with few of them, their coordinates there are enough.
        let basis = (z.nrows() < z.ncols()).then(|| orthonormal(z.t()));
        let x = with_constant(basis.as_ref().map_or_else(|| z.clone(), |basis| z.dot(basis)));
        let found = minimum(&x, &y, self.c);
        let (weights, bias) = found.view().split_at(Axis(0), x.ncols() - 1);
        let weights = basis.map_or_else(|| weights.to_owned(), |basis| basis.dot(&weights));
        let bias = bias.to_owned();
        Ok(Box::new(move |query| Ok(prepare(query).dot(&weights) + &bias)))
    }
}

/// The weights of least ½ ‖W‖² + C Σ cross-entropy(X W), the last row not counted in the length.
fn minimum(x: &Array2<f64>, y: &Array2<f64>, c: f64) -> Array2<f64> {
    const STEPS: usize = 100;
    let mut weights = Array2::<f64>::zeros((x.ncols(), y.ncols()));
    let short = |mut w: Array2<f64>| {
        w.row_mut(x.ncols() - 1).fill(0.0);
        w
    };
    let dot = |a: &Array2<f64>, b: &Array2<f64>| (a * b).sum();
    let loss = |w: &Array2<f64>| {
        let length = short(w.clone());
        let likely = (softmax(x.dot(w)) * y).sum_axis(Axis(1)).mapv(|p| (p + f64::MIN_POSITIVE).ln()).sum();
        0.5 * dot(&length, &length) - c * likely
    };
    for _ in 0..STEPS {
        let p = softmax(x.dot(&weights));
        let gradient = short(weights.clone()) + c * x.t().dot(&(&p - y));
        let size = dot(&gradient, &gradient).sqrt();
        if size <= 1e-10 * (1.0 + c * x.nrows() as f64) {
            break;
        }
        let curvature = |v: &Array2<f64>| {
            let u = x.dot(v);
            let inner = &p * &(&u - &(&p * &u).sum_axis(Axis(1)).insert_axis(Axis(1)));
            short(v.clone()) + c * x.t().dot(&inner)
        };
        // Conjugate gradients, the more exact the nearer the minimum.
        let (mut step, mut rest) = (Array2::zeros(weights.dim()), -&gradient);
        let (mut direction, mut square) = (rest.clone(), size * size);
        for _ in 0..weights.len() {
            let image = curvature(&direction);
            let far = square / dot(&direction, &image).max(f64::MIN_POSITIVE);
            step.scaled_add(far, &direction);
            rest.scaled_add(-far, &image);
            let next = dot(&rest, &rest);
            if next.sqrt() <= size * size.sqrt().min(0.1) {
                break;
            }
            direction = &rest + &(direction * (next / square));
            square = next;
        }
        let (before, slope) = (loss(&weights), dot(&gradient, &step));
        let mut far = 1.0;
        while far > 1e-6
            && loss(&(&weights + &(&step * far))) > before + 1e-4 * far * slope + 1e-12 * before.abs()
        {
            far /= 2.0;
        }
        weights.scaled_add(far, &step);
    }
    weights
}
