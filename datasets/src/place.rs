//! Where a dataset's files are.

use std::path::{Component, Path, PathBuf};

use kshot::{Error, Result};

/// `path` as it is where absolute, else in the data directory, else in the current one; not where it is in both.
pub(crate) fn resolve(dataset: &str, path: &Path, data_dir: &Path) -> Result<PathBuf> {
    let in_data = data_dir.join(path);
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    if let (Some(there), Some(here)) = (whole(&in_data), whole(path))
        && there != here
        && path.components().any(|part| matches!(part, Component::Normal(_)))
    {
        return Err(Error::invalid(format!(
            "`{}` for `{dataset}` is both in the data directory, {}, and in the current one, {}: write one of these",
            path.display(),
            there.display(),
            here.display()
        )));
    }
    [in_data.as_path(), path].into_iter().find(|path| path.exists()).map(Path::to_path_buf).ok_or_else(|| {
        let elsewhere =
            if path.is_absolute() { String::new() } else { format!(" (nor {})", in_data.display()) };
        Error::invalid(format!(
            "the dataset `{dataset}` was to read {}, but there is no such file or directory{elsewhere}; correct the \
             option that names it, or --data-dir",
            path.display()
        ))
    })
}

/// The first of `folders` of the data directory that has `file`.
pub(crate) fn find(data_dir: &Path, folders: &[&str], file: &str, from: &str) -> Result<PathBuf> {
    let found = folders.iter().map(|folder| data_dir.join(folder)).find(|folder| folder.join(file).exists());
    found.ok_or_else(|| {
        let place = folders.first().map_or_else(|| data_dir.to_path_buf(), |folder| data_dir.join(folder)).join(file);
        Error::invalid(format!(
            "there is no {}; get the files from {from} and put them there, or name another directory by --data-dir",
            place.display()
        ))
    })
}

/// The first that exists of `names`, in one folder of the data directory after the other.
pub(crate) fn first_there(data_dir: &Path, folders: &[&str], names: &[&str]) -> Option<PathBuf> {
    let of = |folder: &&str| names.iter().map(|name| data_dir.join(folder).join(name)).collect::<Vec<_>>();
    folders.iter().flat_map(of).find(|path| path.exists())
}
