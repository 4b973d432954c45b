//! How long ranks take to gather gradients, on whatever connects them: what docs/distributed.md calculates with.
//!
//! `cargo build --release --features mpi --example gather`, then `mpirun -n 2 target/release/examples/gather`

use std::time::Instant;

use kshot::Result;
use kshot::ranks::Floats;

fn main() -> Result<()> {
    let (_session, ranks) = kshot::ranks::mpi::start()?;
    for (network, weights) in [("conv4", 112_965), ("resnet12", 12_424_320)] {
        let gradient = Floats(vec![0.5; weights]);
        let mut seconds = Vec::new();
        for _ in 0..7 {
            let begun = Instant::now();
            let gathered = ranks.gather(gradient.clone())?;
            assert_eq!(gathered.len(), ranks.size());
            seconds.push(begun.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        if ranks.is_first() {
            let (size, each, median) =
                (ranks.size(), 4e-6 * weights as f64, 1e3 * seconds[seconds.len() / 2]);
            println!("{size} ranks, a gradient of {network} ({each:.1} MB) of each: {median:.2} ms");
        }
    }
    Ok(())
}
