//! Defaults that fit themselves to the data: what the experiment leaves open is lowered to what there is, and said.

use kshot::Result;
use kshot::dataset::{ClassSet, Dataset, Split, TaskSource};
use kshot::episode::{Count, Manifest, Sampling};

use crate::experiment::{Experiment, List, QUERIES, WAYS};
use crate::output::complain;

/// The experiment with ways, shots and queries as its manifest has them, or as the test split allows.
///
/// # Errors
/// When the manifest does not fit the split.
pub(crate) fn fitted(
    mut experiment: Experiment,
    dataset: &dyn Dataset,
    test: &TaskSource,
) -> Result<Experiment> {
    let TaskSource::Classes(set) = test else { return Ok(experiment) };
    if let Some(path) = &experiment.manifest {
        let manifest = Manifest::read(path, set.clone())?;
        experiment.sampling = None;
        experiment.ways = Some(List::One(manifest.ways()));
        experiment.shots = Some(List::One(manifest.shots()));
        experiment.queries = Some(List::One(manifest.queries().max()));
        return Ok(experiment);
    }
    // Ways and queries are then as many as there are.
    if experiment.sampling() == Sampling::MetaDataset {
        return Ok(experiment);
    }
    // Weights are chosen on tasks of the same kind.
    let validation = match dataset.split(Split::Validation) {
        Ok(TaskSource::Classes(set)) => Some(set),
        _ => None,
    };
    let sets: Vec<&ClassSet> =
        [Some(set), validation.as_ref()].into_iter().flatten().map(AsRef::as_ref).collect();
    if experiment.ways.is_none() && (2..WAYS).contains(&set.classes().len()) {
        let ways = set.classes().len();
        complain(&format!("note: {ways}-way tasks, as the test split has {ways} classes"));
        experiment.ways = Some(List::One(Count::fixed(ways)));
    }
    if experiment.queries.is_none() {
        let shots = experiment
            .shots
            .as_ref()
            .map_or(1, |shots| shots.as_slice().iter().map(|n| n.max()).max().unwrap_or(1));
        let fewest =
            sets.iter().flat_map(|set| set.classes()).map(|class| class.images.len()).min().unwrap_or(0);
        if (shots + 1..shots + QUERIES).contains(&fewest) {
            let queries = fewest - shots;
            complain(&format!(
                "note: {queries} queries a class, not {QUERIES}, as the smallest class has {fewest} examples"
            ));
            experiment.queries = Some(List::One(queries));
        }
    }
    Ok(experiment)
}
