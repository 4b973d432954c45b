//! Embeddings of new images by a trained learner: what is left to do once `kshot train` has written a checkpoint.
//!
//! kshot train examples/glyphs.toml --steps 200 --out runs/glyphs
//! cargo run --release --example embed -- runs/glyphs

use kshot::registry;
use kshot::train::read_run;
use kshot_cli as _; // Links the learners that come with kshot.
use ndarray::Array4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("name a checkpoint, or the directory of a run")?;
    let (checkpoint, description) = read_run(path.as_ref())?;
    let origin = description.origin;
    let mut learner = (registry::learner(&origin.learner)?.build)(&origin.setup, &origin.options)?;
    if let Some(learner) = learner.trainable() {
        let theta = &mut learner.learned().theta;
        *theta = checkpoint.params(theta.layout())?;
    }
    let comparer = learner.comparer().ok_or("this learner compares no examples")?;
    // Two images as the checkpoint's network takes them: here a blank and a white one.
    let [c, h, w] = origin.setup.backbone.input;
    let images = Array4::from_shape_fn((2, c, h, w), |(n, ..)| n as f32);
    let z = comparer.embed(images.view())?;
    println!("{} step {}: embeddings {:?}", origin.learner, description.step, z.dim());
    println!("similarities\n{}", comparer.similarity(z.view(), z.view())?);
    Ok(())
}
