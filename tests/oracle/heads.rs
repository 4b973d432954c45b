//! Heads on drawn features: easyfsl's and scikit-learn's answers.

use kshot::episode::{Labelled, Targets, Unlabelled};
use kshot::registry::{self, Problem, Setup};
use kshot_heads::{BdCspn, Centroid, Head, LaplacianShot, Logistic, PtMap, Ridge, Support, Tim, Transform};
use ndarray::{Array2, Array4};

use super::fixture::Fixture;

fn array(fixture: &Fixture, name: &str) -> Array2<f64> {
    let shape = fixture.shape(name);
    Array2::from_shape_vec((shape[0], shape[1]), fixture.f64(name)).unwrap()
}

fn check(fixture: &Fixture, shots: &str, name: &str, head: &impl Head, sign: f64) {
    let at = |what: &str| format!("{shots}/{what}");
    let (z, labels) = (array(fixture, &at("support")), fixture.labels(&at("support_y")));
    let scores = head.fit(Support { z, labels, ways: 5 }).unwrap()(array(fixture, &at("query")).view())
        .unwrap()
        * sign;
    let expected = array(fixture, &at(name));
    let scale = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let off = (&scores - &expected).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert!(off <= 1e-5 * scale, "{shots} {name}: off by {off} of {scale}");
}

#[test]
fn oracle_heads_in_double_precision() {
    let Some(fixture) = Fixture::open("heads") else { return };
    for shots in ["1shot", "5shot"] {
        let centroid = |transform| Centroid { transform };
        check(&fixture, shots, "simpleshot", &centroid(Transform::Cosine), 1.0);
        check(&fixture, shots, "cl2n_squared_distance", &centroid(Transform::Cl2n), -1.0);
        check(&fixture, shots, "logistic", &Logistic::default(), 1.0);
        check(&fixture, shots, "ridge", &Ridge::default(), 1.0);
        check(&fixture, shots, "bd_cspn", &BdCspn::default(), 1.0);
        // easyfsl counts a query among its own three.
        let two = LaplacianShot { neighbours: 2, ..LaplacianShot::default() };
        check(&fixture, shots, "laplacian_shot", &two, 1.0);
        check(&fixture, shots, "tim", &Tim::default(), 1.0);
        check(&fixture, shots, "pt_map", &PtMap::default(), 1.0);
    }
}

/// As learners, on features in single precision: the same classes.
#[test]
fn oracle_heads_as_learners() {
    let Some(fixture) = Fixture::open("heads") else { return };
    for shots in ["1shot", "5shot"] {
        let inputs = |what: &str| {
            let name = format!("{shots}/{what}");
            let shape = fixture.shape(&name);
            Array4::from_shape_vec((shape[0], shape[1], 1, 1), fixture.f32(&name)).unwrap()
        };
        let support = fixture.labels(&format!("{shots}/support_y"));
        let support = Labelled::new(inputs("support"), Targets::Classes(support));
        let queries = Unlabelled { inputs: inputs("query") };
        for (learner, options, name) in [
            ("centroid", "transform = 'cosine'", "simpleshot"),
            ("logistic", "", "logistic"),
            ("ridge", "", "ridge"),
            ("bd-cspn", "", "bd_cspn"),
            ("laplacian-shot", "neighbours = 2", "laplacian_shot"),
            ("tim", "", "tim"),
            ("pt-map", "", "pt_map"),
        ] {
            let entry = registry::learner(learner).unwrap();
            let setup = Setup {
                problem: Problem::Classification,
                backbone: kshot::backbone::Backbone::of(&toml::Table::new(), [64, 1, 1], entry.norm).unwrap(),
                base_classes: 0,
                ways: 5,
                shots: kshot::episode::Count::fixed(1),
                queries: 15,
                seed: 0,
            };
            let learner = (entry.build)(&setup, &options.parse().unwrap()).unwrap();
            let expected = array(&fixture, &format!("{shots}/{name}"));
            let expected: Vec<usize> = expected
                .outer_iter()
                .map(|row| kshot::learner::argmax(row.iter().map(|&value| value as f32)))
                .collect();
            assert_eq!(learner.answer(&support, &queries).unwrap().classes(), expected, "{shots} {name}");
        }
    }
}
