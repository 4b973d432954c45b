//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kshot::dataset::{Normalise, Resize};

use crate::data::DataCommand;
use crate::device::Device;
use crate::experiment::Flags;
use crate::suite::memory::Bytes;

/// kshot: few-shot benchmarks and meta-learning
///
/// An episode is a small task: a labelled support set to learn from, and queries to answer. kshot samples them from a
/// dataset, trains learners across them, and compares the learners on identical tasks.
///
/// Every flag of an experiment is also a key of an experiment file (TOML), as `steps = 2000` under `[train]`.
#[derive(Parser)]
#[command(name = "kshot", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Compute on this; refused by a build that does not have it [default: what it was built for]
    #[arg(long, global = true, value_enum)]
    pub(crate) device: Option<Device>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train and compare learners on one dataset, and print a table
    ///
    /// Without arguments: all learners on `glyphs`, which needs no file, 5-way 1-shot.
    Bench(BenchArgs),
    /// Measure a suite, kept cell by cell in a directory: the same command goes on where it was stopped or killed
    ///
    /// A suite is an experiment file, with `seeds` (3, or [0, 1, 2]) and, where there are several experiments, `[[experiment]]`
    /// for each, with the keys that are its own, or with `file = "other.toml"`.
    Run(RunArgs),
    /// Compare learners by what suites and runs have kept: paired differences on identical episodes, ranks over settings
    Compare(CompareArgs),
    /// Write what suites and runs have kept as one HTML page: who is best and how surely, cost, failures, curves, what was run
    ///
    /// The page needs no network and no other file. It opens the dataset and asks the best learners a hundred test tasks again,
    /// to show which classes they confuse and how: examples of the dataset are then in the page (`--kept-only` leaves them out).
    Report(ReportArgs),
    /// Train one learner, with checkpoints and logs in a directory
    Train(TrainArgs),
    /// Evaluate a trained learner on test episodes
    Eval(EvalArgs),
    /// Label new files by a few labelled examples of each class
    ///
    /// The support is a directory with one sub-directory of images for each class (two images are enough), or a file of arrays
    /// with labels (`X` and `y` of .npz or .mat, a CSV). Images are prepared as the checkpoint says.
    Predict(PredictArgs),
    /// Are two images of the same class? Answered by their similarity, for classes that were not trained on
    ///
    /// The similarity is the learner's own: minus a squared distance (`prototypical`, `triplet`), a cosine, or a score; the
    /// threshold is of the same kind.
    Verify(VerifyArgs),
    /// Write what a trained network makes of images or arrays to a file: features for any other program
    Embed(EmbedArgs),
    /// Time kshot's own hot paths: one JSON line a row, as documented in docs/performance.md
    Perf(PerfArgs),
    /// Write test tasks as a manifest, so that another program, or `eval --manifest`, runs on the same
    Tasks(TasksArgs),
    /// List the learners, or one with its options
    Learners {
        /// Which one, as `prototypical`
        name: Option<String>,
    },
    /// List the datasets, or one with its options
    Datasets {
        /// Which one, as `folder`
        name: Option<String>,
    },
    /// List the networks that all learners share, with their options
    Backbones {
        /// Which one, as `conv4`
        name: Option<String>,
    },
    /// Print the JSON Schema of an experiment file, with the options of every plugin; or that of `result.json`
    Schema {
        /// Of which file
        #[arg(value_enum, default_value = "experiment")]
        of: SchemaOf,
    },
    /// Write a crate to start from: a learner, dataset or backbone of your own
    New(NewArgs),
    /// Get the files of a dataset; keep its images decoded on disk, for data larger than memory
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Say what kshot finds here: version, device, threads, data
    Doctor(Place),
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Train and test this many times, each with the next seed; ± is then over these, not over episodes [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// Draw accuracy against the labelled target examples (or the shots) to this SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Write the rows of the table to this JSON file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep everything in this directory, as `kshot run` does
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Learners measured at a time, each on its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) jobs: usize,
    /// What the program may take of memory, as `8GB`: only so many cells at a time as fit by an estimate from above; one that does
    /// not fit alone is refused
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Train and test this many times, each with the next seed [default: the suite's `seeds`, else 1]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// Directory that it is kept in [default: runs/SUITE]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Cells measured at a time, each on its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) jobs: usize,
    /// What the program may take of memory, as `8GB`: only so many cells at a time as fit by an estimate from above; one that does
    /// not fit alone is refused
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,
    /// Measure again what failed
    #[arg(long)]
    pub(crate) again: bool,
    /// Write the rows of the tables to this JSON file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Directories of suites or of runs
    #[arg(value_name = "DIR", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Learner that the others are compared with [default: the best of each table]
    #[arg(long, value_name = "NAME")]
    pub(crate) against: Option<String>,
    /// As Markdown
    #[arg(long, conflicts_with_all = ["latex", "csv"])]
    pub(crate) markdown: bool,
    /// As LaTeX, for the package booktabs
    #[arg(long, conflicts_with = "csv")]
    pub(crate) latex: bool,
    /// As CSV: every number as it is, accuracies 0–1
    #[arg(long)]
    pub(crate) csv: bool,
    /// Put it into this page, between `<!-- kshot compare NAME -->` and `<!-- end -->`, NAME being that of the (first) directory
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Directories of suites or of runs
    #[arg(value_name = "DIR", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// The HTML file to write
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
    /// Learner that the others are compared with [default: the best of each table]
    #[arg(long, value_name = "NAME")]
    pub(crate) against: Option<String>,
    /// Show what is kept only: open no dataset, ask no learner again, put no example into the page
    #[arg(long)]
    pub(crate) kept_only: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Directory for checkpoints and logs [default: runs/LEARNER-DATASET-WAYSwSHOTSs-seedSEED]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the run in the directory; begin it if there is none yet
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Args)]
pub(crate) struct EvalArgs {
    /// Checkpoint, or the directory of a run (its best checkpoint)
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Do two examples share a class, and which are most alike? On `--episodes` batches [default: 20]
    #[arg(long)]
    pub(crate) verification: bool,
    /// With `--verification`: compare all test examples with all, once, instead of batches; intervals are then over classes
    #[arg(long, requires = "verification")]
    pub(crate) gallery: bool,
    /// Ask more and more episodes until the 95 % interval is this narrow, in percent (of accuracy) to either side; `--episodes` is
    /// then the most that are asked [default: 100000]. Not for comparing learners, which need the same number of episodes
    #[arg(long, value_name = "POINTS", conflicts_with_all = ["verification", "open_set"])]
    pub(crate) precision: Option<f64>,
    /// Ask of K more classes in each task, which are not in the support: how well are they told from those that are?
    #[arg(long, value_name = "K", conflicts_with = "verification")]
    pub(crate) open_set: Option<usize>,
    /// Log it for TensorBoard in this directory, which may be the run's own: figures, settings, the first episodes drawn, maps of
    /// their embeddings, the projector's files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["verification", "open_set"])]
    pub(crate) log: Option<PathBuf>,
    /// Write the figures to this JSON file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct TasksArgs {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// The JSON file to write: `{"episodes": [{"support": [{"file": "CLASS/FILE", "label": 0}, …], "query": […]}, …]}`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct PredictArgs {
    /// Checkpoint, or the directory of a run (left out with `--learner`); then what to label: images, directories of them, `-`
    /// for paths on stdin, or files of arrays (.npy, .npz, .mat, .csv)
    #[arg(value_name = "CHECKPOINT QUERY", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// The labelled examples: a directory for each class, or a file of arrays
    #[arg(long, value_name = "DIR")]
    pub(crate) support: PathBuf,
    /// A learner that needs no training, as `pixels` or `tca`, instead of a checkpoint
    #[arg(long, value_name = "NAME")]
    pub(crate) learner: Option<String>,
    /// Set an option of the learner, as `finetune.test-steps=50`
    #[arg(long = "set", value_name = "NAME.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// With `--learner`: an encoder, whose features the learner is given instead of images: an ONNX file, or the directory of
    /// a run
    #[arg(long, value_name = "ENCODER", requires = "learner")]
    pub(crate) encoder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
    /// Call queries `(none)` that are less sure than this share of the support is of itself, each example left out in turn
    #[arg(long, value_name = "SHARE")]
    pub(crate) reject: Option<f64>,
    /// Write file, label, margin and the score of each class as CSV (`-`: to stdout)
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the same as a JSON list
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Copy each query into the directory of its label in this one
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// How images are prepared where no checkpoint says so.
#[derive(Args)]
pub(crate) struct ImageArgs {
    /// Without a checkpoint: side that images are brought to, in pixels [default: 224 for an encoder, else 28]
    #[arg(long, value_name = "N")]
    pub(crate) image_size: Option<usize>,
    /// Without a checkpoint: three colour channels instead of one; an encoder has them always
    #[arg(long)]
    pub(crate) rgb: bool,
    /// Without a checkpoint: what becomes of images that are not square: `stretch`, `fit`, `crop`, or `imagenet` (the middle 7/8
    /// of `crop`) [default: stretch]
    #[arg(long, value_name = "HOW")]
    pub(crate) resize: Option<Resize>,
    /// Without a checkpoint: means and deviations of the channels, as `0.5,0.5,0.5/0.5,0.5,0.5`, `imagenet` or `none` [default:
    /// imagenet for an encoder, else none]
    #[arg(long, value_name = "MEANS/DEVIATIONS")]
    pub(crate) normalise: Option<Normalise>,
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// Checkpoint, or the directory of a run, of a learner that compares, as `triplet`
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// Two images
    #[arg(value_names = ["A", "B"], num_args = 2, conflicts_with = "pairs")]
    pub(crate) files: Vec<PathBuf>,
    /// A CSV file without header: two paths a line
    #[arg(long, value_name = "FILE", required_unless_present = "files")]
    pub(crate) pairs: Option<PathBuf>,
    /// How often two that differ may be taken for the same: the threshold is that of the validation classes
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub(crate) far: f64,
    /// Find the threshold by these images instead, a directory for each class
    #[arg(long, value_name = "DIR")]
    pub(crate) classes: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct EmbedArgs {
    /// Checkpoint, or the directory of a run, or an encoder in an `.onnx` file
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// Images, directories of them (a label is the name of the directory below), `-` for paths on stdin, or files of arrays
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// The `.npz` to write: `X` `[n, features]`, `name` and, where all have one, the label `y`
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
}

#[derive(Args)]
pub(crate) struct PerfArgs {
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Repetitions of each row; `ms` is their median
    #[arg(long, value_name = "N", default_value_t = 11)]
    pub(crate) reps: usize,
    /// Only the rows of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Measure this row here; each is run in a process of its own
    #[arg(long, hide = true)]
    pub(crate) row: Option<usize>,
}

#[derive(Args)]
pub(crate) struct NewArgs {
    /// What it is to be
    #[arg(value_enum)]
    pub(crate) kind: NewKind,
    /// Its name, as `my-learner`
    pub(crate) name: String,
    /// Of which family a learner is to be
    #[arg(long, value_enum, default_value = "metric")]
    pub(crate) family: NewFamily,
    /// Where to write it [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
    /// kshot's source, which it is to depend on [default: what this program was built from]
    #[arg(long, value_name = "DIR")]
    pub(crate) kshot: Option<PathBuf>,
}

/// Files that have a JSON Schema.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SchemaOf {
    Experiment,
    Result,
}

/// What `kshot new` writes.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum NewKind {
    Learner,
    Dataset,
    Backbone,
}

/// Families that `kshot new` has a learner of.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum NewFamily {
    /// Embed and compare
    Metric,
    /// Adapt by gradient descent
    Optimization,
    /// Learn nothing across tasks
    Baseline,
}

/// Where datasets lie.
#[derive(Args)]
pub(crate) struct Place {
    /// Where datasets lie [default: $KSHOT_DATA, else the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}
