//! What a log says in words: the settings of a run, and where it ran.

use serde_json::Value;

use crate::nn::peak::instruction_set;

/// Settings as Markdown: JSON, as in `best.json`.
pub fn settings(settings: &Value) -> String {
    // JSON of a value cannot fail to be written; a log is no place to stop a run either.
    format!("```json\n{}\n```\n", serde_json::to_string_pretty(settings).unwrap_or_default())
}

/// Where kshot runs, as a Markdown table: version, platform, device, kernels, threads. Threads are those of the pool that
/// asks.
pub fn environment() -> String {
    let kernels = instruction_set().map_or_else(|error| error.to_string(), str::to_owned);
    let rows = [
        ("kshot", env!("CARGO_PKG_VERSION").to_owned()),
        ("platform", format!("{} on {}", std::env::consts::ARCH, std::env::consts::OS)),
        ("device", if cfg!(feature = "cuda") { "CUDA" } else { "CPU" }.to_owned()),
        ("kernels", kernels),
        ("threads", rayon::current_num_threads().to_string()),
    ];
    let rows = rows.map(|(name, value)| format!("| {name} | {value} |\n"));
    format!("| environment | |\n| --- | --- |\n{}", rows.concat())
}
