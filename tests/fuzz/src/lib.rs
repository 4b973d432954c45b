//! Every parser of a file that may come from anywhere, as a function of that file's bytes: for libFuzzer, and for
//! `tests/mutated.rs`, which turns seeds over without it.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz npy -- -runs=1000000 -rss_limit_mb=1024` (docs/reliability.md)

mod seeds;

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use kshot::checkpoint::Checkpoint;
use kshot::dataset::{Class, ClassSet, DatasetContext, Split, Store, TaskSource};
use kshot::episode::Manifest;
use kshot::{Result, registry};
use kshot_datasets as _; // registers the datasets
use tempfile::TempDir;

pub use seeds::seeds;

/// A parser.
#[derive(Clone, Copy, Debug)]
pub struct Parser {
    /// What the fuzz target is called.
    pub name: &'static str,
    /// Where the bytes lie, in a directory of their own.
    file: &'static str,
    read: fn(&Path) -> Result<()>,
}

/// All of them.
pub const PARSERS: [Parser; 20] = [
    Parser { name: "npy", file: "X.npy", read: |at| opened("arrays", at, "path = '.'") },
    Parser { name: "npz", file: "a.npz", read: |at| opened("arrays", at, "path = 'a.npz'") },
    Parser { name: "mat", file: "a.mat", read: |at| opened("arrays", at, "path = 'a.mat'") },
    Parser { name: "csv", file: "a.csv", read: |at| opened("arrays", at, "path = 'a.csv'") },
    Parser { name: "zip", file: "a.zip", read: |at| opened("folder", at, "path = 'a.zip'\nimage-size = 8") },
    Parser { name: "tar", file: "a.tar", read: |at| opened("folder", at, "path = 'a.tar'\nimage-size = 8") },
    Parser {
        name: "image",
        file: "set/one/a.png",
        read: |at| opened("folder", at, "path = 'set'\nimage-size = 8"),
    },
    Parser {
        name: "list",
        file: "list.csv",
        read: |at| opened("folder", at, "path = 'list.csv'\nimage-size = 8"),
    },
    Parser { name: "idx", file: "mnist/train-images-idx3-ubyte", read: |at| opened("mnist", at, "") },
    Parser {
        name: "drawings",
        file: "quickdraw/cat.npy",
        read: |at| opened("quickdraw", at, "per-class = 2"),
    },
    Parser {
        name: "omniglot",
        file: "omniglot/images_background.zip",
        read: |at| opened("omniglot", at, ""),
    },
    Parser { name: "tep", file: "tep/d01.dat", read: |at| opened("tep", at, "window = 4") },
    Parser { name: "cwru", file: "cwru/B007_load0_DE.npy", read: |at| opened("cwru", at, "") },
    Parser {
        name: "cifar",
        file: "cifar-100/cifar-100-binary/train.bin",
        read: |at| opened("cifar-fs", at, ""),
    },
    Parser {
        name: "office",
        file: "office-caltech10-surf/dslr_SURF_L10.mat",
        read: |at| opened("office-caltech10-surf", at, ""),
    },
    Parser { name: "digits", file: "mnist-usps/usps_X.npy", read: |at| opened("digits-da", at, "") },
    Parser {
        name: "checkpoint",
        file: "a.safetensors",
        read: |at| Checkpoint::read(&at.join("a.safetensors")).map(drop),
    },
    Parser {
        name: "manifest",
        file: "a.json",
        read: |at| Manifest::read(&at.join("a.json"), pixels()).map(drop),
    },
    Parser {
        name: "store",
        file: "images",
        read: |at| Store::open(&at.join("images")).and_then(Store::ready).map(drop),
    },
    Parser {
        name: "split",
        file: "split.toml",
        read: |at| opened("folder", at, "path = 'set'\nimage-size = 8\nsplit-file = 'split.toml'"),
    },
];

/// The parser of this name.
///
/// # Panics
/// When there is none.
pub fn parser(name: &str) -> Parser {
    PARSERS.into_iter().find(|parser| parser.name == name).expect("a parser of this name")
}

impl Parser {
    /// Reads `bytes`, as a file where the parser looks for it: whatever they are, it comes back.
    ///
    /// # Errors
    /// When they are refused.
    pub fn read(&self, bytes: &[u8]) -> Result<()> {
        thread_local! {
            static SCRATCH: RefCell<Option<(&'static str, TempDir)>> = const { RefCell::new(None) };
        }
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.as_ref().is_none_or(|(name, _)| *name != self.name) {
                *scratch = Some((self.name, self.surroundings()));
            }
            let Some((_, directory)) = scratch else { return Ok(()) };
            fs::write(directory.path().join(self.file), bytes).expect("room for a file");
            (self.read)(directory.path())
        })
    }

    /// What lies beside the file.
    fn surroundings(&self) -> TempDir {
        // Memory, where there is such a place: a file a time is otherwise what takes the time.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a directory");
        let path = directory.path();
        for (file, bytes) in seeds::beside(self.name) {
            let file = path.join(file);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            fs::write(file, bytes).expect("a file");
        }
        let parent = path.join(self.file);
        fs::create_dir_all(parent.parent().expect("a parent")).expect("a directory");
        directory
    }
}

/// Opens a dataset that lies there, and samples an example of each class.
fn opened(dataset: &str, at: &Path, options: &str) -> Result<()> {
    let open = registry::dataset(dataset).expect("a dataset").open;
    let options = options.parse().expect("options");
    let dataset = open(&DatasetContext::at(at), &options)?;
    for split in [Split::Train, Split::Validation, Split::Test] {
        if let Ok(TaskSource::Classes(set)) = dataset.split(split) {
            set.push_examples((0..set.classes().len()).map(|class| (class, 0)), &mut Vec::new())?;
        }
    }
    Ok(())
}

/// Four classes of four images of one pixel.
fn pixels() -> Arc<ClassSet> {
    let names = (0..16).map(|image| format!("{image}.png")).collect();
    let class =
        |n: u32| Class { name: format!("{n}"), images: (4 * n..4 * n + 4).collect(), quarter_turns: 0 };
    let values: Vec<u8> = (0..16).collect();
    let set = ClassSet::new([1, 1, 1], Arc::new(values), Arc::new(names), (0..4).map(class).collect());
    Arc::new(set.expect("a set"))
}

/// The `main` of a fuzz target.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop($crate::parser($name).read(bytes)));

        /// Without libFuzzer: writes the seeds of the corpus to a directory.
        #[cfg(not(fuzzing))]
        fn main() {
            let folder = std::env::args().nth(1).expect("usage: TARGET DIR");
            std::fs::create_dir_all(&folder).expect("a directory");
            for (number, seed) in $crate::seeds($name).into_iter().enumerate() {
                std::fs::write(std::path::Path::new(&folder).join(number.to_string()), seed).expect("a file");
            }
        }
    };
}
