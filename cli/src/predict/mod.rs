//! `kshot predict`: labels new files by a few labelled examples of each class.

mod answers;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use kshot::backbone::Backbone;
use kshot::embedding::is_encoder;
use kshot::episode::{Count, Labelled, Targets, Unlabelled};
use kshot::learner::{Learner, Prediction, argmax, confidence};
use kshot::registry::{self, Problem, Setup};
use kshot::train::{read_run, restored};
use kshot::{Error, Result};
use ndarray::{Array2, Axis};

use crate::args::PredictArgs;
use crate::experiment::parse_setting;
use crate::inputs::{Queries, Reader, Support, holds_arrays};
use crate::output::{complain, writable};
use crate::stop::{STOP, stop_on_ctrl_c};
use answers::{Answer, Answers};

/// Queries asked at a time.
const BATCH: usize = 64;
/// The same where the answer to one depends on the others.
const TOGETHER: usize = 4096;
/// Support examples that are left out in turn, at most.
const LEFT_OUT: usize = 100;

pub(crate) fn run(args: &PredictArgs) -> Result<()> {
    for path in args.csv.iter().chain(&args.json).filter(|path| path.as_os_str() != "-") {
        writable(path)?;
    }
    if let Some(share) = args.reject.filter(|share| !(0.0..1.0).contains(share)) {
        return Err(Error::invalid(format!("`--reject` is {share}, but must be 0 or more and below 1")));
    }
    let (learner, reader, paths) = opened(args)?;
    if args.out.is_some() && holds_arrays(&args.support) {
        return Err(Error::invalid(
            "`--out` copies images; rows of arrays have no file of their own: use `--csv`",
        ));
    }
    let Support { examples, classes } = reader.support(&args.support)?;
    let mut queries = Queries::new(&reader, paths)?;
    let threshold = args.reject.map(|share| threshold(learner.as_ref(), &examples, share)).transpose()?;
    let adapted = learner.adapt(&examples).map_err(|error| error.context("the support"))?;
    let count = if learner.is_transductive() { TOGETHER } else { BATCH };
    let mut answers = Answers::new(args, &classes)?;
    stop_on_ctrl_c();
    if learner.is_transductive() {
        complain(&format!(
            "note: this learner's answers depend on the queries asked together, {TOGETHER} at a time, and may be wrong where \
             these are not of all classes, about as many of each"
        ));
    }
    let mut outcome = Ok(());
    while let Some(batch) = queries.next(count)? {
        let scores = scores(adapted.predict(&batch.queries)?)?;
        for (query, scores) in batch.names.iter().zip(scores.outer_iter()) {
            let best = argmax(scores.iter().copied());
            let sure = threshold.is_none_or(|least| confidence(scores) >= least);
            let second =
                scores.iter().enumerate().filter(|(class, _)| *class != best).map(|(_, &score)| score);
            answers.push(&Answer {
                query,
                label: sure.then_some(classes[best].as_str()),
                margin: scores[best] - second.fold(f32::NEG_INFINITY, f32::max),
                scores: scores.to_vec(),
            })?;
        }
        if STOP.load(Ordering::Relaxed) {
            outcome = Err(Error::Interrupted("stopped: what is answered so far was written".to_owned()));
            break;
        }
    }
    let (failed, count) = (queries.failed, answers.finish()?);
    match (outcome, failed, count) {
        (Err(error), ..) => Err(error),
        (_, 0, 0) => Err(Error::invalid("there was no query to label")),
        (_, 0, _) => Ok(()),
        (_, failed, count) => Err(Error::invalid(format!(
            "{failed} of {} files could not be read, for the reasons above; the others are labelled",
            failed + count
        ))),
    }
}

/// The learner, how its inputs are read, and the paths of the queries.
fn opened(args: &PredictArgs) -> Result<(Box<dyn Learner>, Reader, &[PathBuf])> {
    let own_options = |learner: &str| -> Result<toml::Table> {
        let mut options = toml::Table::new();
        for setting in &args.set {
            let table = parse_setting(setting)?;
            let given = table.get("set").and_then(|set| set.get(learner)).and_then(toml::Value::as_table);
            match given {
                Some(given) => options.extend(given.clone()),
                None => {
                    return Err(Error::invalid(format!(
                        "`--set {setting}`: only options of `{learner}` can be set here"
                    )));
                }
            }
        }
        Ok(options)
    };
    let Some(name) = &args.learner else {
        let (checkpoint, description) = read_run(&args.paths[0])?;
        if args.paths.len() == 1 {
            return Err(Error::invalid(
                "there is nothing to label: name images, directories of them or `-` after the checkpoint",
            ));
        }
        let origin = description.origin;
        let entry = registry::learner(&origin.learner)?;
        let reader = Reader::of_run(&args.support, &origin, Some(&args.images))?;
        let mut options = origin.options;
        options.extend(own_options(entry.name)?);
        let learner = restored(&checkpoint, entry, &origin.setup, &options)?;
        return Ok((learner, reader, &args.paths[1..]));
    };
    let entry = registry::learner(name)?;
    if entry.training.is_some() {
        return Err(Error::invalid(format!(
            "`{name}` has to be trained first: `kshot train --learner {name} …`, then `kshot predict CHECKPOINT …`"
        )));
    }
    let options = own_options(name)?;
    let reader = if holds_arrays(&args.support) {
        Reader::Numbers(kshot_datasets::arrays::examples(&args.support, true)?.shape)
    } else if let Some(encoder) = &args.encoder {
        match is_encoder(encoder) {
            true => Reader::features(Reader::by_flags(&args.images, true)?, encoder)?,
            // Shown images as it was trained.
            false => match Reader::of_run(&args.support, &read_run(encoder)?.1.origin, Some(&args.images))? {
                Reader::Images(reader) => Reader::features(reader, encoder)?,
                _ => {
                    return Err(Error::invalid(format!(
                        "the network of {} was not trained on images: it cannot encode them",
                        encoder.display()
                    )));
                }
            },
        }
    } else if let Some(run) = options.get("features").and_then(toml::Value::as_str).map(Path::new) {
        match is_encoder(run) {
            true => Reader::Images(Reader::by_flags(&args.images, true)?),
            false => Reader::of_run(&args.support, &read_run(run)?.1.origin, Some(&args.images))?,
        }
    } else {
        Reader::Images(Reader::by_flags(&args.images, false)?)
    };
    let input = reader.input()?;
    let setup = Setup {
        problem: Problem::Classification,
        backbone: Backbone::of(&toml::Table::new(), input, entry.norm)?,
        base_classes: 0,
        ways: 2,
        shots: Count::fixed(1),
        queries: 1,
        seed: 0,
    };
    Ok(((entry.build)(&setup, &options)?, reader, &args.paths))
}

fn scores(prediction: Prediction) -> Result<Array2<f32>> {
    match prediction {
        Prediction::Scores(scores) => Ok(scores),
        Prediction::Values(_) => {
            Err(Error::invalid("this learner was trained for a regression: it has no labels"))
        }
    }
}

/// How sure this share of the support is not, each example asked of a learner that knows the others.
/// Classes of one example are passed over.
fn threshold(learner: &dyn Learner, support: &Labelled, share: f64) -> Result<f32> {
    if learner.is_transductive() {
        return Err(Error::invalid(
            "`--reject` asks one example at a time, which a transductive learner cannot be",
        ));
    }
    let labels = support.classes()?;
    let several = |row: &usize| labels.iter().filter(|&&label| label == labels[*row]).count() > 1;
    let rows: Vec<usize> = (0..labels.len()).filter(several).collect();
    if rows.is_empty() {
        return Err(Error::invalid(
            "`--reject` leaves out one example of a class in turn: give two examples or more of some class",
        ));
    }
    let step = rows.len().div_ceil(LEFT_OUT);
    let mut own = Vec::new();
    for &row in rows.iter().step_by(step) {
        let others: Vec<usize> = (0..labels.len()).filter(|&other| other != row).collect();
        let inputs = support.inputs().select(Axis(0), &others);
        let targets = Targets::Classes(others.iter().map(|&other| labels[other]).collect());
        let asked = Unlabelled { inputs: support.inputs().select(Axis(0), &[row]) };
        let scores = scores(learner.answer(&Labelled::new(inputs, targets), &asked)?)?;
        own.push(confidence(scores.row(0)));
    }
    own.sort_by(f32::total_cmp);
    Ok(own[((share * own.len() as f64) as usize).min(own.len() - 1)])
}
