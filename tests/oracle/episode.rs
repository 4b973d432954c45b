//! Prototypical and matching losses of a 5-way 3-shot episode, and their gradients in the embeddings.

use kshot::Result;
use kshot::nn::{TapedMatrix, TapedScalar, value_and_grad_of_head};
use kshot::params::Params;
use kshot_prototypical::Distance;
use ndarray::Array2;

use super::fixture::Fixture;

/// A loss of embeddings, given the labels of support and queries.
type EpisodeLoss = fn(TapedMatrix, &[usize], &[usize]) -> Result<(TapedScalar, f32)>;

#[test]
fn oracle_episode_losses() {
    let Some(fixture) = Fixture::open("episode_losses") else { return };
    let features = fixture.shape("support")[1];
    let rows = [fixture.f32("support"), fixture.f32("query")].concat();
    let z = Array2::from_shape_vec((rows.len() / features, features), rows).unwrap();
    let (support, query) = (fixture.labels("support.y"), fixture.labels("query.y"));
    let losses: [(&str, EpisodeLoss); 2] = [
        ("prototypical", |z, support, query| {
            kshot_prototypical::episode_loss(z, support, query, Distance::Euclidean)
        }),
        ("matching", |z, support, query| kshot_matching::episode_loss(z, support, query, 1.0)),
    ];
    for (name, loss) in losses {
        let none = Params::empty();
        let (loss, gradient) = value_and_grad_of_head(&none, z.clone(), &mut none.clone(), &mut |z, _| {
            Ok(loss(z, &support, &query)?.0)
        })
        .unwrap();
        fixture.assert_close(&format!("{name}/loss"), &[loss], 1e-5);
        fixture.assert_close(&format!("{name}/grad"), gradient.as_slice().unwrap(), 1e-4);
    }
}
