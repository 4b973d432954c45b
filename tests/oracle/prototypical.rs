//! The prototypical loss of a 5-way 3-shot episode, and its gradient in the embeddings.

use kshot::nn::value_and_grad_of_head;
use kshot::params::Params;
use kshot_prototypical::{Distance, episode_loss};
use ndarray::Array2;

use super::fixture::Fixture;

#[test]
fn oracle_prototypical_loss() {
    let Some(fixture) = Fixture::open("episode_losses") else { return };
    let features = fixture.shape("support")[1];
    let rows = [fixture.f32("support"), fixture.f32("query")].concat();
    let z = Array2::from_shape_vec((rows.len() / features, features), rows).unwrap();
    let (support, query) = (fixture.labels("support.y"), fixture.labels("query.y"));
    let none = Params::empty();
    let (loss, gradient) = value_and_grad_of_head(&none, z, &mut none.clone(), &mut |z, _| {
        Ok(episode_loss(z, &support, &query, Distance::Euclidean)?.0)
    })
    .unwrap();
    fixture.assert_close("prototypical/loss", &[loss], 1e-5);
    fixture.assert_close("prototypical/grad", gradient.as_slice().unwrap(), 1e-4);
}
