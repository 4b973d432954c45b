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

/// The first rows with their labels, the others without.
fn known(labels: &[usize], n: usize) -> Vec<Option<usize>> {
    (0..n).map(|row| labels.get(row).copied()).collect()
}

fn task<'a>(x: MatRef<'a, f64>, labels: &'a [Option<usize>], sources: usize) -> Task<'a> {
    Task { x, labels, sources, ways: 2 }
}

/// So many components.
fn width(components: usize) -> Width {
    Width { components: Some(components), ..Width::default() }
}

/// Rows as they are, not of unit length.
fn raw() -> CommonOptions {
    CommonOptions { unit_length: false, ..CommonOptions::default() }
}

/// Two classes at different places; the target is the source turned, stretched and moved.
fn shifted(n: usize) -> (Mat<f64>, Vec<Option<usize>>) {
    let x = Mat::from_fn(2 * n, 4, |i, j| {
        let class = (i % 2) as f64;
        let spread = ((i * 4 + j) as f64 * 2.3).sin();
        let place = if j == 0 { 3.0 * class } else { 0.0 };
        if i < n { place + spread } else { place + spread + [1.5, 1.0, -1.0, 0.5][j] }
    });
    (x, known(&(0..n).map(|i| i % 2).collect::<Vec<_>>(), 2 * n))
}

#[test]
fn coral_gives_the_source_the_targets_covariance() {
    for (n, d) in [(60, 5), (12, 40)] {
        let x = Mat::from_fn(2 * n, d, |i, j| {
            let value = ((i * d + j) as f64 * 1.3).sin() + 0.3 * ((i * j) as f64).cos();
            if i < n { value } else { 2.0 * value + ((i * 7 + j) as f64).sin() }
        });
        let labels = known(&vec![0; n], 2 * n);
        let covariance = |rows: MatRef<'_, f64>| {
            let centred = components::centre(rows.to_owned());
            Mat::from_fn(d, d, |i, j| (centred.col(i).transpose() * centred.col(j)) / (n - 1) as f64)
        };
        // The ridge vanishes where the covariance has full rank; where it has not, only the sizes can be alike.
        let method = Method::Coral { ridge: 1e-9 };
        let z = method.align(&task(x.as_ref(), &labels, n), &raw()).unwrap();
        let (own, wanted) = (covariance(z.subrows(0, n)), covariance(z.subrows(n, n)));
        // Both have a mean of zero.
        let target = components::centre(x.subrows(n, n).to_owned());
        assert_eq!(z.subrows(n, n), target);
        assert!(z.subrows(0, n).col_iter().all(|column| column.iter().sum::<f64>().abs() < 1e-9 * n as f64));
        if d < n {
            assert!((&own - &wanted).norm_l2() < 1e-6 * wanted.norm_l2());
        }
        // Against the formula with whole matrices and a ridge that counts.
        let root = |matrix: Mat<f64>, power: f64| {
            let mut ridged = matrix;
            (0..d).for_each(|i| ridged[(i, i)] += 0.5);
            let eigen = ridged.self_adjoint_eigen(faer::Side::Lower).unwrap();
            let scaled = Mat::from_fn(d, d, |i, j| eigen.U()[(i, j)] * eigen.S()[j].powf(power));
            &scaled * eigen.U().transpose()
        };
        let (cs, ct) = (covariance(x.subrows(0, n)), covariance(x.subrows(n, n)));
        let expected = components::centre(x.subrows(0, n).to_owned()) * root(cs, -0.5) * root(ct, 0.5);
        let z = Method::Coral { ridge: 0.5 }.align(&task(x.as_ref(), &labels, n), &raw()).unwrap();
        assert!((z.subrows(0, n) - &expected).norm_l2() < 1e-9 * expected.norm_l2());
    }
}

#[test]
fn landmarks_that_are_all_examples_change_nothing_and_few_come_close() {
    let (x, labels) = shifted(60);
    let config = |landmarks| TcaOptions {
        kernel: KernelKind::Rbf,
        width: width(3),
        landmarks,
        ..TcaOptions::default()
    };
    let task = task(x.as_ref(), &labels, 60);
    let whole = tca(&config(None), &task).unwrap().components;
    let all = leading_components(
        Features::Plain(config(None).kernel(x.as_ref()).matrix(x.as_ref(), x.as_ref()).as_ref()),
        domains(60, 120).as_ref(),
        1.0,
        3,
    )
    .unwrap();
    let few = tca(&config(Some(80)), &task).unwrap().components;
    for k in 0..3 {
        let close = |other: f64, share: f64| (other / whole.eigenvalues[k] - 1.0).abs() < share;
        assert!(close(all.eigenvalues[k], 1e-10), "{k}");
        assert!(close(few.eigenvalues[k], 0.6), "{k}: {} {}", few.eigenvalues[k], whole.eigenvalues[k]);
    }
}

#[test]
fn examples_that_come_later_are_projected_as_they_would_have_been() {
    let (narrow, labels) = shifted(40);
    // As wide as to have more features than examples.
    let wide = points(80, 100);
    for (x, kernel, landmarks) in [
        (&narrow, KernelKind::Linear, None),
        (&wide, KernelKind::Linear, None),
        (&narrow, KernelKind::Rbf, None),
        (&narrow, KernelKind::Polynomial, Some(30)),
    ] {
        let config = TcaOptions { kernel, gamma: Some(0.1), landmarks, ..TcaOptions::default() };
        let fitted = tca(&config, &task(x.as_ref(), &labels, 40)).unwrap();
        let again = fitted.transform(x.subrows(30, 20));
        let error = (&again - fitted.components.projected.subrows(30, 20)).norm_l2();
        assert!(error < 1e-9 * again.norm_l2(), "{kernel:?}: {error}");
    }
}

#[test]
fn sstca_without_labels_and_neighbours_is_tca() {
    let (x, labels) = shifted(40);
    let task = task(x.as_ref(), &labels, 40);
    let shared = TcaOptions { kernel: KernelKind::Rbf, width: width(3), ..TcaOptions::default() };
    let config = SstcaOptions { tca: shared.clone(), dependence: 0.0, locality: 0.0, neighbours: 3 };
    let (ours, theirs) = (
        Method::Sstca(config).align(&task, &raw()).unwrap(),
        Method::Tca(shared).align(&task, &raw()).unwrap(),
    );
    for k in 0..3 {
        let sign = (ours.col(k).transpose() * theirs.col(k)).signum();
        let error: Mat<f64> = Mat::from_fn(80, 1, |i, _| sign * ours[(i, k)] - theirs[(i, k)]);
        assert!(error.norm_l2() < 1e-6 * theirs.col(k).norm_l2(), "{k}");
    }
}

#[test]
fn labels_make_components_depend_on_them() {
    let (x, labels) = shifted(40);
    let task = task(x.as_ref(), &labels, 40);
    let config = SstcaOptions {
        tca: TcaOptions { width: width(1), ..TcaOptions::default() },
        ..SstcaOptions::default()
    };
    let between = |dependence: f64| {
        let z = Method::Sstca(SstcaOptions { dependence, ..config.clone() }).align(&task, &raw()).unwrap();
        let mean = |class: usize| (0..40).filter(|i| i % 2 == class).map(|i| z[(i, 0)]).sum::<f64>() / 20.0;
        let spread = components::centre(z.subrows(0, 40).to_owned()).norm_l2() / 40.0_f64.sqrt();
        (mean(0) - mean(1)).abs() / spread
    };
    assert!(between(1.0) >= between(0.0), "{} {}", between(1.0), between(0.0));
}

#[test]
fn adaptation_finds_the_classes_of_a_moved_target() {
    let (x, labels) = shifted(60);
    let truth: Vec<usize> = (60..120).map(|i| i % 2).collect();
    let task = task(x.as_ref(), &labels, 60);
    let accuracy = |method: Method, classifier: Classifier| {
        let z = method.align(&task, &CommonOptions { classifier, ..raw() }).unwrap();
        kshot::learner::accuracy(classifier.scores(z.as_ref(), &labels, 2).iter().copied(), &truth)
    };
    let config = TcaOptions { mu: 0.01, width: width(2), ..TcaOptions::default() };
    let jda = JdaOptions { tca: config.clone(), iterations: 5 };
    let floor = accuracy(Method::Nothing, Classifier::Nearest);
    for method in [Method::Tca(config), Method::Jda(jda)] {
        let adapted = accuracy(method.clone(), Classifier::Nearest);
        assert!(adapted > floor && adapted > 0.9, "{method:?}: {adapted}, {floor} without");
        assert!(accuracy(method, Classifier::Logistic) > 0.9);
    }
}

#[test]
fn a_distance_is_two_where_domains_are_apart_and_small_where_they_are_alike() {
    let (x, _) = shifted(200);
    let far = Mat::from_fn(200, 4, |i, j| x[(i, j)] + 20.0);
    assert_eq!(proxy_a_distance(x.subrows(0, 200), far.as_ref()), 2.0);
    assert!(proxy_a_distance(x.subrows(0, 100), x.subrows(100, 100)).abs() < 0.5);
}

#[test]
fn what_has_no_components_is_refused_in_words() {
    use kshot::episode::Targets;

    let refused = |options: &str, x: &Mat<f64>, support: usize, words: &str| {
        let rows = |from: usize, to: usize| {
            ndarray::Array4::from_shape_fn((to - from, x.ncols(), 1, 1), |(i, j, ..)| x[(from + i, j)] as f32)
        };
        let labelled =
            Labelled::new(rows(0, support), Targets::Classes((0..support).map(|i| i % 2).collect()));
        let query = Unlabelled { inputs: rows(support, x.nrows()) };
        let error = kshot::options::read::<TcaOptions>("`tca`", &options.parse().unwrap())
            .and_then(|options| {
                let common = options.common.clone();
                FeatureTransfer::new(Method::Tca(options), common, [x.ncols(), 1, 1])
            })
            .and_then(|learner| learner.answer(&labelled, &query))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(words), "{error}");
    };
    refused("", &points(5, 3), 5, "5 and 0");
    refused("", &Mat::full(6, 3, 2.0), 3, "do not vary");
    refused("components = 9", &points(6, 3), 3, "`components` is 9");
    let mut nan = points(6, 3);
    nan[(4, 2)] = f64::NAN;
    refused("", &nan, 3, "feature 2 of query example 1");
    refused("mu = 0.0", &points(6, 3), 3, "`mu`");
    refused("features = \"nowhere.safetensors\"", &points(6, 3), 3, "nowhere.safetensors");
}
