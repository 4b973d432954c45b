//! The plane in which embeddings differ most, to look at them.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::Rng as _;

use crate::rng::stream;
use crate::{Error, Result};

/// Examples in the plane of their two principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct PrincipalPlane {
    /// Their coordinates, `[n, 2]`; 0 along a direction in which nothing differs.
    pub coordinates: Array2<f64>,
    /// Share of the variance along each, 0–1.
    pub explained: [f64; 2],
}

/// Steps of the power iteration at most. Where two variances are so alike that it needs more, either direction serves.
const STEPS: usize = 300;

/// The first two principal components of embeddings `[n, features]` (Hotelling, "Analysis of a complex of statistical
/// variables into principal components", 1933), by power iteration in f64. The largest weight of each is positive.
///
/// # Errors
/// When a value is not a finite number.
pub fn principal_plane(z: ArrayView2<'_, f32>) -> Result<PrincipalPlane> {
    if z.iter().any(|value| !value.is_finite()) {
        return Err(Error::NotFinite("an embedding to be mapped is not finite".to_owned()));
    }
    let mut centred = z.mapv(f64::from);
    if let Some(mean) = centred.mean_axis(Axis(0)) {
        centred -= &mean;
    }
    let variance: f64 = centred.iter().map(|value| value * value).sum();
    let mut coordinates = Array2::zeros((z.nrows(), 2));
    let (mut found, mut explained) = (Vec::new(), [0.0; 2]);
    for (mut coordinate, share) in coordinates.columns_mut().into_iter().zip(&mut explained) {
        let Some(direction) = direction(&centred, &found, variance) else { break };
        let along = centred.dot(&direction);
        *share = along.dot(&along) / variance;
        coordinate.assign(&along);
        found.push(direction);
    }
    Ok(PrincipalPlane { coordinates, explained })
}

/// The direction of greatest variance at right angles to those found before; `None` where nothing is left.
fn direction(centred: &Array2<f64>, found: &[Array1<f64>], variance: f64) -> Option<Array1<f64>> {
    let mut rng = stream(0, "principal components", found.len() as u64);
    let mut direction = Array1::from_shape_simple_fn(centred.ncols(), || rng.random_range(-1.0..1.0));
    for _ in 0..STEPS {
        let mut next = centred.t().dot(&centred.dot(&direction));
        for before in found {
            let along = before.dot(&next);
            next.scaled_add(-along, before);
        }
        let length = next.dot(&next).sqrt();
        // What rounding leaves of no variance at all.
        if length.is_nan() || length <= 1e-12 * variance {
            return None;
        }
        next /= length;
        let moved = (&next - &direction).mapv(|value| value * value).sum();
        direction = next;
        if moved < 1e-16 {
            break;
        }
    }
    let largest = direction.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    Some(direction * largest.signum())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_plane_of_points_in_a_plane_is_found() {
        // Variance along (3, 4)/5 and (−4, 3)/5, in the ratio 9 to 1, in a space of three dimensions.
        let along = [[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]];
        let z = Array2::from_shape_fn((4, 3), |(n, feature)| {
            let [u, v] = along[n];
            7.0 + [0.6 * u - 0.8 * v, 0.8 * u + 0.6 * v, 0.0][feature]
        });
        let plane = principal_plane(z.mapv(|value: f64| value as f32).view()).unwrap();
        for (found, [u, v]) in plane.coordinates.outer_iter().zip(along) {
            assert!((found[0] - u).abs() < 1e-5, "{found} {u}");
            assert!((found[1] + v).abs() < 1e-5, "{found} {v}");
        }
        assert!((plane.explained[0] - 0.9).abs() < 1e-5 && (plane.explained[1] - 0.1).abs() < 1e-5);
    }

    #[test]
    fn what_does_not_differ_has_no_direction() {
        let line = principal_plane(array![[0.0, 1.0], [0.0, 2.0], [0.0, 6.0]].view()).unwrap();
        assert_eq!(line.coordinates.column(0).to_vec(), [-2.0, -1.0, 3.0]);
        assert_eq!((line.coordinates.column(1).to_vec(), line.explained), (vec![0.0; 3], [1.0, 0.0]));
        let point = principal_plane(array![[1.0, 1.0], [1.0, 1.0]].view()).unwrap();
        assert_eq!((point.coordinates, point.explained), (Array2::zeros((2, 2)), [0.0; 2]));
        assert!(principal_plane(Array2::zeros((0, 4)).view()).is_ok());
        assert!(principal_plane(array![[f32::NAN]].view()).is_err());
    }
}
