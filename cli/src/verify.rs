//! `kshot verify`: whether two examples are of one class.

use std::path::{Path, PathBuf};

use kshot::learner::Comparer;
use kshot::registry;
use kshot::train::{Description, read_run, restored};
use kshot::verification::{Threshold, thresholds_of};
use kshot::{Error, Result};

use crate::args::VerifyArgs;
use crate::inputs::{Reader, Support};
use crate::output::{complain, print};

pub(crate) fn run(args: &VerifyArgs) -> Result<()> {
    let (checkpoint, description) = read_run(&args.checkpoint)?;
    let origin = &description.origin;
    let learner = restored(&checkpoint, registry::learner(&origin.learner)?, &origin.setup, &origin.options)?;
    let Some(comparer) = learner.comparer() else {
        return Err(Error::invalid(format!(
            "`{}` does not compare examples: verification is for metric learners, as `triplet`",
            origin.learner
        )));
    };
    let first = args.files.first().map_or(Path::new(""), PathBuf::as_path);
    let reader = Reader::of_run(first, origin, None)?;
    let Threshold { far, similarity: least } = threshold(args, &description, comparer)?;
    if learner.is_transductive() {
        complain("note: this network normalises by the batch: the two examples are embedded together");
    }
    let compare = |a: &Path, b: &Path| -> Result<f32> {
        let z = comparer.embed(reader.images(&[a.to_path_buf(), b.to_path_buf()])?.view())?;
        let (a, b) = z.view().split_at(ndarray::Axis(0), 1);
        Ok(comparer.similarity(a, b)?[[0, 0]])
    };
    let verdict = |similarity: f32| if similarity >= least { "same" } else { "different" };
    let Some(file) = &args.pairs else {
        let similarity = compare(&args.files[0], &args.files[1])?;
        return print(&format!(
            "{}: similarity {similarity:.4}, threshold {least:.4} (at which {} % of pairs that differ are taken for the same)\n",
            verdict(similarity),
            100.0 * far
        ));
    };
    for pair in pairs(file)? {
        let [a, b] = &pair;
        let similarity = compare(a, b)?;
        print(&format!("{},{},{similarity},{}\n", a.display(), b.display(), verdict(similarity)))?;
    }
    Ok(())
}

/// The threshold with the highest false-accept rate that is not above the one asked for.
fn threshold(args: &VerifyArgs, description: &Description, comparer: &dyn Comparer) -> Result<Threshold> {
    let found = match &args.classes {
        Some(path) => by_classes(path, description, comparer)?,
        None if description.thresholds.is_empty() => {
            return Err(Error::invalid(format!(
                "{} has no thresholds, as it was trained without classes to validate on: name some by `--classes DIR`",
                args.checkpoint.display()
            )));
        }
        None => description.thresholds.clone(),
    };
    let lowest = found.iter().map(|threshold| threshold.far).fold(1.0, f64::min);
    let fitting = found.into_iter().filter(|threshold| threshold.far <= args.far);
    fitting.max_by(|a, b| a.far.total_cmp(&b.far)).ok_or_else(|| {
        Error::invalid(format!(
            "`--far` is {}, but there are pairs enough for {lowest} or more: ask for that, or name more `--classes`",
            args.far
        ))
    })
}

fn by_classes(path: &Path, description: &Description, comparer: &dyn Comparer) -> Result<Vec<Threshold>> {
    let origin = &description.origin;
    let Support { examples, .. } = Reader::of_run(path, origin, None)?.support(path)?;
    let (z, labels) = (comparer.embed(examples.inputs())?, examples.classes()?);
    let all = comparer.similarity(z.view(), z.view())?;
    let others = all.indexed_iter().filter(|((i, j), _)| i < j && labels[*i] != labels[*j]);
    Ok(thresholds_of(others.map(|(_, &value)| value).collect()))
}

/// The pairs of a file.
fn pairs(file: &Path) -> Result<Vec<[PathBuf; 2]>> {
    let broken = |why: String| Error::invalid(format!("{} cannot be read as pairs: {why}", file.display()));
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_path(file)
        .map_err(|error| broken(error.to_string()))?;
    let mut pairs = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(|error| broken(error.to_string()))?;
        let (Some(a), Some(b)) = (record.get(0), record.get(1)) else {
            return Err(broken(format!("line {} has no two paths", number + 1)));
        };
        let pair = [PathBuf::from(a), PathBuf::from(b)];
        if let Some(missing) = pair.iter().find(|path| !path.is_file()) {
            return Err(broken(format!("line {}: there is no file {}", number + 1, missing.display())));
        }
        pairs.push(pair);
    }
    Ok(pairs)
}
