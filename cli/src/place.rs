//! Where things lie on this machine.

use std::path::PathBuf;

use kshot::dataset::DatasetContext;

use crate::progress::done_of_all;

/// Where datasets are opened: what takes long is shown, and kept.
pub(crate) fn context(data_dir: Option<&PathBuf>) -> DatasetContext {
    DatasetContext { data_dir: self::data_dir(data_dir), cache_dir: cache_dir(), progress: done_of_all }
}

/// Where what took long to make is kept: `KSHOT_CACHE`, else the user's cache directory.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    match std::env::var_os("KSHOT_CACHE") {
        Some(place) => Some(place).filter(|place| !place.is_empty()).map(PathBuf::from),
        None => {
            let user = etcetera::base_strategy::choose_native_strategy().ok()?;
            Some(etcetera::BaseStrategy::cache_dir(&user).join("kshot"))
        }
    }
}

/// Where datasets lie: the flag, else `KSHOT_DATA`, else the user's data directory.
pub(crate) fn data_dir(flag: Option<&PathBuf>) -> PathBuf {
    flag.cloned()
        .or_else(|| std::env::var_os("KSHOT_DATA").filter(|value| !value.is_empty()).map(PathBuf::from))
        .or_else(|| {
            let user = etcetera::base_strategy::choose_native_strategy().ok()?;
            Some(etcetera::BaseStrategy::data_dir(&user).join("kshot"))
        })
        .unwrap_or_else(|| PathBuf::from("data"))
}
