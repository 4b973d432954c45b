//! Prototypical and matching losses of a 5-way 3-shot episode, and their gradients in the embeddings.

use kshot::episode::{Episode, Labelled, Targets};
use kshot::metric::Comparison;
use kshot::nn::value_and_grad_of_head;
use kshot::params::Params;
use kshot_matching::Matching;
use kshot_prototypical::Prototypical;
use ndarray::{Array2, Array4};

use super::fixture::Fixture;

#[test]
fn oracle_episode_losses() {
    let Some(fixture) = Fixture::open("episode_losses") else { return };
    let features = fixture.shape("support")[1];
    let rows = [fixture.f32("support"), fixture.f32("query")].concat();
    let z = Array2::from_shape_vec((rows.len() / features, features), rows).unwrap();
    // The comparison sees embeddings; of the episode only the labels count.
    let set = |name: &str| {
        let labels = fixture.labels(name);
        Labelled::new(Array4::zeros((labels.len(), 1, 1, 1)), Targets::Classes(labels))
    };
    let episode = Episode { index: 0, support: set("support.y"), query: set("query.y"), classes: Vec::new() };
    let comparisons: [(&str, Box<dyn Comparison>); 2] = [
        ("prototypical", Box::new(Prototypical::default())),
        ("matching", Box::new(Matching { sharpness: 1.0, ..Matching::default() })),
    ];
    for (name, comparison) in comparisons {
        let none = Params::zeros(&Default::default());
        let (loss, gradient) =
            value_and_grad_of_head(&none, z.clone(), &mut none.clone(), &mut |z, weights| {
                Ok(comparison.loss(z, weights, &episode)?.loss)
            })
            .unwrap();
        fixture.assert_close(&format!("{name}/loss"), &[loss], 1e-5);
        fixture.assert_close(&format!("{name}/grad"), gradient.as_slice().unwrap(), 1e-4);
    }
}
