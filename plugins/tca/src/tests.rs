#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

fn points(n: usize, d: usize) -> Mat<f64> {
    Mat::from_fn(n, d, |i, j| ((i * d + j) as f64 * 1.7).sin() + 0.5 * ((i * i + 3 * j) as f64 * 0.37).cos())
}

/// Beyond the width that is solved at once, the Krylov space finds what the whole problem has.
#[test]
fn a_krylov_space_finds_the_same_components_as_the_whole() {
    let x = points(450, 12);
    let k = Kernel::Rbf { gamma: 0.05 }.gram(x.as_ref());
    let e = domains(200, 450);
    let found = leading_components(Features::Gram(k.as_ref()), e.as_ref(), 0.1, 5).unwrap();
    // Wᵀ A W = I with A = K e eᵀ K + μ I, and Wᵀ K H K W = Λ.
    let ke = &k * &e;
    let (wa, we) = (found.weights.transpose() * &found.weights, found.weights.transpose() * &ke);
    let centred = components::centre(found.projected.clone());
    let varied = centred.transpose() * &centred;
    for i in 0..5 {
        for j in 0..5 {
            let constraint = 0.1 * wa[(i, j)] + we[(i, 0)] * we[(j, 0)];
            let (one, lambda) = (f64::from(i == j), if i == j { found.eigenvalues[i] } else { 0.0 });
            assert!((constraint - one).abs() < 1e-8, "{i} {j}: {constraint}");
            assert!(
                (varied[(i, j)] - lambda).abs() < 1e-8 * found.eigenvalues[0],
                "{i} {j}: {}",
                varied[(i, j)]
            );
        }
    }
    // The stationary points of that are the components: K H K W = A W Λ.
    let image = &k * &centred;
    let constrained = Mat::from_fn(450, 5, |i, j| 0.1 * found.weights[(i, j)] + ke[(i, 0)] * we[(j, 0)]);
    for j in 0..5 {
        let error = (0..450)
            .map(|i| (image[(i, j)] - found.eigenvalues[j] * constrained[(i, j)]).powi(2))
            .sum::<f64>();
        assert!(error.sqrt() < 1e-6 * found.eigenvalues[0], "{j}: {}", error.sqrt());
    }
}

#[test]
fn domains_that_are_alike_have_no_discrepancy() {
    let x = points(40, 3);
    let kernel = Kernel::Rbf { gamma: 0.5 };
    assert!(mmd2(kernel, x.as_ref(), x.as_ref()).abs() < 1e-12);
    let far = Mat::from_fn(40, 3, |i, j| x[(i, j)] + 2.0);
    assert!(mmd2(kernel, x.as_ref(), far.as_ref()) > 0.1);
    // Halves of one sample: around 0.
    assert!(mmd2_unbiased(kernel, x.subrows(0, 20), x.subrows(20, 20)).abs() < 0.05);
}

#[test]
fn what_has_no_components_is_refused_in_words() {
    let refused = |config: TcaConfig, x: Mat<f64>, sources: usize, words: &str| {
        let error =
            Tca::new(config).and_then(|tca| tca.components(x.as_ref(), sources)).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    };
    let config = TcaConfig::default;
    refused(config(), points(5, 3), 5, "5 and 0");
    refused(config(), Mat::full(6, 3, 2.0), 3, "do not vary");
    refused(TcaConfig { components: Some(9), ..config() }, points(6, 3), 3, "`components` is 9");
    let mut nan = points(6, 3);
    nan[(4, 2)] = f64::NAN;
    refused(config(), nan, 3, "feature 2 of target example 1");
    refused(TcaConfig { mu: 0.0, ..config() }, points(6, 3), 3, "`mu`");
}
