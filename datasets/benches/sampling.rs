//! Milliseconds to sample 100 episodes, 5-way 1-shot 15-query, on one thread: of `glyphs`, and of Omniglot (with and
//! without rotations) where it is found in the directory `KSHOT_DATA`.

use std::env;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use kshot::dataset::{DatasetContext, Split};
use kshot::episode::{Count, TaskSpec};
use kshot::{Result, registry};
use kshot_datasets as _; // registers the datasets

const EPISODES: u64 = 100;
const REPEATS: u64 = 50;

fn main() -> Result<()> {
    measure("glyphs", toml::Table::new())?;
    measure("omniglot", toml::Table::new())?;
    measure("omniglot", toml::Table::from_iter([("rotations".to_owned(), false.into())]))
}

fn measure(name: &str, options: toml::Table) -> Result<()> {
    let data_dir = env::var_os("KSHOT_DATA").map(PathBuf::from).unwrap_or_default();
    let context = DatasetContext::at(data_dir);
    let entry = registry::dataset(name)?;
    if let Some(Err(missing)) = entry.locate.map(|locate| locate(&context)) {
        println!("{name}: skipped: {missing}");
        return Ok(());
    }
    let start = Instant::now();
    let dataset = (entry.open)(&context, &options)?;
    let opened = start.elapsed();
    let spec = TaskSpec::FewShot { ways: Count::fixed(5), shots: Count::fixed(1), queries: 15 };
    let tasks = spec.open(&dataset.split(Split::Train)?, Split::Train, 0)?;
    let mut times = Vec::new();
    for repeat in 0..REPEATS {
        let start = Instant::now();
        for index in 0..EPISODES {
            black_box(tasks.episode(repeat * EPISODES + index)?);
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "{name} {options:?}: opened in {opened:.2?}; {EPISODES} episodes in {median:.2} ms (least {:.2})",
        times[0]
    );
    Ok(())
}
