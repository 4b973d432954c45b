//! Transfer components and MMD of two small domains.

use faer::{Mat, MatRef};
use kshot_tca::{Features, Kernel, domains, leading_components, mmd2};

use super::fixture::Fixture;

fn close(what: &str, actual: f64, expected: f64, scale: f64) {
    assert!((actual - expected).abs() <= 1e-8 * scale, "{what}: {actual}, expected {expected}");
}

#[test]
fn oracle_transfer_components() {
    let Some(fixture) = Fixture::open("tca") else { return };
    let (n_source, d) = (fixture.shape("source")[0], fixture.shape("source")[1]);
    let values = [fixture.f64("source"), fixture.f64("target")].concat();
    let x = MatRef::from_row_major_slice(&values, values.len() / d, d);
    let (n, e) = (x.nrows(), domains(n_source, x.nrows()));
    for (name, kernel) in [("linear", Kernel::Linear), ("rbf", Kernel::Rbf { gamma: 0.05 })] {
        let before = fixture.f64(&format!("{name}/mmd2"))[0];
        close(
            "MMD² before",
            mmd2(kernel, x.subrows(0, n_source), x.subrows(n_source, n - n_source)),
            before,
            before,
        );
        let k = kernel.gram(x);
        for mu in ["0.1", "1.0"] {
            let of = |what: &str| fixture.f64(&format!("{name}/mu{mu}/{what}"));
            let found =
                leading_components(Features::Gram(k.as_ref()), e.as_ref(), mu.parse().unwrap(), 5).unwrap();
            for (actual, expected) in found.eigenvalues.iter().zip(of("eigenvalues")) {
                close("eigenvalue", *actual, expected, expected);
            }
            let expected = of("components");
            let expected = MatRef::from_row_major_slice(&expected, n, 5);
            for j in 0..5 {
                let (actual, expected) = (found.projected.col(j), expected.col(j));
                let sign = (actual.transpose() * expected).signum();
                let error: Mat<f64> = Mat::from_fn(n, 1, |i, _| sign * actual[i] - expected[i]);
                close(
                    &format!("{name} μ = {mu}: component {j}"),
                    error.norm_l2(),
                    0.0,
                    10.0 * expected.norm_l2(),
                );
            }
            let z = found.projected.as_ref();
            let after = mmd2(Kernel::Linear, z.subrows(0, n_source), z.subrows(n_source, n - n_source));
            close("MMD² after", after, of("mmd2_after")[0], before);
        }
    }
}
