//! Milliseconds to sample 100 episodes, 5-way 1-shot 15-query, on one thread: of `glyphs`, of Omniglot (with and without
//! rotations) where it is found in the directory `KSHOT_DATA`, and of the directory of images `KSHOT_FOLDER`, if there is one,
//! as 64×64 in colour from memory and from a store.

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
    let data_dir = env::var_os("KSHOT_DATA").map(PathBuf::from).unwrap_or_default();
    let context = DatasetContext::at(data_dir);
    measure("glyphs", &context, toml::Table::new())?;
    measure("omniglot", &context, toml::Table::new())?;
    measure("omniglot", &context, toml::Table::from_iter([("rotations".to_owned(), false.into())]))?;
    let Some(folder) = env::var_os("KSHOT_FOLDER") else { return Ok(()) };
    let path = folder.to_string_lossy().into_owned();
    let options = toml::Table::from_iter([
        ("path".to_owned(), path.into()),
        ("image-size".to_owned(), 64.into()),
        ("colour".to_owned(), "rgb".into()),
    ]);
    measure("folder", &context, options.clone())?;
    let cache = tempfile::tempdir().map_err(|error| kshot::Error::io("making", "a cache", error))?;
    let context = DatasetContext { cache_dir: Some(cache.path().to_path_buf()), ..context };
    let start = Instant::now();
    if let Some(prepare) = registry::dataset("folder")?.prepare {
        prepare(&context, &options, &false.into())?;
        println!("folder: prepared in {:.2?}", start.elapsed());
    }
    measure("folder", &context, options)
}

fn measure(name: &str, context: &DatasetContext, options: toml::Table) -> Result<()> {
    let entry = registry::dataset(name)?;
    if let Some(Err(missing)) = entry.locate.map(|locate| locate(context)) {
        println!("{name}: skipped: {missing}");
        return Ok(());
    }
    let start = Instant::now();
    let dataset = (entry.open)(context, &options)?;
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
