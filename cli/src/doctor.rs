//! `kshot doctor`: what is here.

use kshot::dataset::DatasetContext;
use kshot::nn::peak::instruction_set;
use kshot::options::described;
use kshot::registry;
use serde_json::{Value, json};

use crate::args::Place;
use crate::device;
use crate::place::data_dir;

/// What figures are measured on, for machines to read.
pub(crate) fn environment() -> Value {
    json!({
        "kshot": env!("CARGO_PKG_VERSION"),
        "system": std::env::consts::OS,
        "device": device::in_words(),
        "cpu": cpu_features(),
        "kernels": instruction_set().map_or_else(|error| error.to_string(), str::to_owned),
        "threads": rayon::current_num_threads(),
    })
}

/// Version, device, threads and data, one a line.
pub(crate) fn report(place: &Place) -> String {
    let data_dir = data_dir(place.data_dir.as_ref());
    let mut text = format!("kshot     {}\n", env!("CARGO_PKG_VERSION"));
    text += &format!("device    {}\n", device::in_words());
    text += &format!("CPU       {}\n", cpu_features());
    let kernels = instruction_set().map_or_else(|error| error.to_string(), str::to_owned);
    text += &format!("kernels   {kernels}\n");
    text += &format!("threads   {}\n", rayon::current_num_threads());
    text += &format!(
        "learners  {}\n",
        registry::learners().iter().map(|e| e.name).collect::<Vec<_>>().join(", ")
    );
    text += &format!("data      {}\n", data_dir.display());
    let context = DatasetContext::at(data_dir);
    for entry in registry::datasets() {
        let found = match entry.locate {
            Some(locate) => match locate(&context) {
                Ok(path) => format!("found at {}", path.display()),
                Err(error) => format!("not found: {error}"),
            },
            None if described(&(entry.options)()).iter().any(|option| option.name == "path") => {
                "your own files, given with `path`".to_owned()
            }
            None => "needs no file".to_owned(),
        };
        text += &format!("  {:<21} {found}\n", entry.name);
    }
    text
}

fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    let found: Vec<&str> = [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect();
    #[cfg(target_arch = "aarch64")]
    let found = vec!["NEON"];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: Vec<&str> = Vec::new();
    let features = if found.is_empty() { "no SIMD that kshot knows".to_owned() } else { found.join(", ") };
    format!("{} with {features}", std::env::consts::ARCH)
}
