//! Files that a command is given: a labelled support, and examples batch by batch.

use std::collections::VecDeque;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use kshot::dataset::{Images, Normalise, Preparation};
use kshot::embedding::Embedding;
use kshot::episode::{Labelled, Targets, Unlabelled};
use kshot::train::Origin;
use kshot::{Error, Result};
use kshot_datasets::arrays::{self, Examples};
use kshot_datasets::folder::{classes_in, images_below};
use kshot_datasets::images::ImageReader;
use ndarray::{Array4, Axis};

use crate::args::ImageArgs;
use crate::output::complain;

/// How files become inputs.
pub(crate) enum Reader {
    Images(ImageReader),
    Features(ImageReader, Box<Embedding>),
    Numbers([usize; 3]),
}

/// The labelled examples, with their classes by name.
pub(crate) struct Support {
    pub(crate) examples: Labelled,
    pub(crate) classes: Vec<String>,
}

/// Whether a path names a file of arrays.
pub(crate) fn holds_arrays(path: &Path) -> bool {
    let ending = path.extension().map(|end| end.to_string_lossy().to_lowercase());
    matches!(ending.as_deref(), Some("npy" | "npz" | "mat" | "csv")) || path.join("X.npy").is_file()
}

impl Reader {
    /// Images or numbers as the description of a run says, which no flag can change.
    pub(crate) fn of_run(first: &Path, origin: &Origin, flags: Option<&ImageArgs>) -> Result<Self> {
        let given = |args: &ImageArgs| {
            args.image_size.is_some() || args.rgb || args.resize.is_some() || args.normalise.is_some()
        };
        if flags.is_some_and(given) {
            return Err(Error::invalid(
                "images are prepared as the checkpoint says: leave out `--image-size`, `--rgb`, `--resize` and `--normalise`",
            ));
        }
        let input = origin.setup.backbone.input;
        if holds_arrays(first) {
            if origin.preparation == (Preparation::Numbers { standardise: true }) {
                complain(
                    "note: the learner was trained on standardised features: give features that are standardised in the \
                     same way, as they are taken as they are",
                );
            }
            return Ok(Self::Numbers(input));
        }
        match &origin.preparation {
            Preparation::Images(images) => ImageReader::new(*images, input).map(Self::Images),
            Preparation::Generated => ImageReader::new(Images::default(), input).map(Self::Images),
            Preparation::Features { images, shape, encoder } => {
                Self::features(ImageReader::new(*images, *shape)?, encoder)
            }
            Preparation::Numbers { .. } => Err(Error::invalid(format!(
                "the learner was trained on numbers, so {} is to be a file of arrays, not images",
                first.display()
            ))),
        }
    }

    /// Images as the flags say.
    pub(crate) fn by_flags(args: &ImageArgs, encoder: bool) -> Result<ImageReader> {
        let size = args.image_size.unwrap_or(if encoder { 224 } else { 28 });
        let images = Images {
            resize: args.resize.unwrap_or_default(),
            normalise: args.normalise.unwrap_or(if encoder { Normalise::IMAGENET } else { Normalise::NONE }),
            ..Images::default()
        };
        ImageReader::new(images, [if encoder || args.rgb { 3 } else { 1 }, size, size])
    }

    /// What an encoder makes of images that it is shown so.
    pub(crate) fn features(reader: ImageReader, encoder: &Path) -> Result<Self> {
        let embedding = Embedding::read(encoder, reader.shape())?;
        Ok(Self::Features(reader, Box::new(embedding)))
    }

    /// Shape of an input, `[channels, height, width]`.
    pub(crate) fn input(&self) -> Result<[usize; 3]> {
        match self {
            Self::Images(reader) => Ok(reader.shape()),
            Self::Features(reader, embedding) => {
                let [channels, height, width] = reader.shape();
                let probe = embedding.of(Array4::zeros((1, channels, height, width)).view())?;
                Ok([probe.ncols(), 1, 1])
            }
            Self::Numbers(input) => Ok(*input),
        }
    }

    /// Inputs of image files.
    pub(crate) fn images(&self, files: &[PathBuf]) -> Result<Array4<f32>> {
        match self {
            Self::Images(reader) => reader.inputs(files),
            Self::Features(reader, embedding) => {
                let z = embedding.of(reader.inputs(files)?.view())?;
                Ok(z.insert_axis(Axis(2)).insert_axis(Axis(3)))
            }
            Self::Numbers(_) => Err(Error::invalid("images are no numbers")),
        }
    }

    /// The support of a directory or file.
    pub(crate) fn support(&self, path: &Path) -> Result<Support> {
        let (inputs, labels): (Array4<f32>, Vec<String>) = if let Self::Numbers(input) = self {
            let Examples { shape, values, labels, .. } = arrays::examples(path, true)?;
            (inputs(path, *input, shape, values)?, labels)
        } else {
            let (mut files, mut labels) = (Vec::new(), Vec::new());
            for class in classes_in(path)? {
                labels.extend(class.images.iter().map(|_| class.name.clone()));
                files.extend(class.images.into_iter().map(|image| image.path));
            }
            (self.images(&files)?, labels)
        };
        let mut classes = labels.clone();
        classes.sort();
        classes.dedup();
        if classes.len() < 2 {
            return Err(Error::invalid(format!(
                "the support {} has only the class `{}`; a query can be told between two classes or more",
                path.display(),
                classes.join("")
            )));
        }
        let label = |name: &String| classes.binary_search(name).unwrap_or_default();
        let labels = labels.iter().map(label).collect();
        Ok(Support { examples: Labelled::new(inputs, Targets::Classes(labels)), classes })
    }
}

fn inputs(path: &Path, input: [usize; 3], shape: [usize; 3], values: Vec<f32>) -> Result<Array4<f32>> {
    if shape != input {
        return Err(Error::invalid(format!(
            "the examples of {} are {shape:?} (channels, height, width), but the learner takes {input:?}",
            path.display()
        )));
    }
    let n = values.len() / shape.iter().product::<usize>().max(1);
    Array4::from_shape_vec((n, shape[0], shape[1], shape[2]), values)
        .map_err(|error| Error::invalid(error.to_string()))
}

/// Some queries, and what they are called.
pub(crate) struct Batch {
    pub(crate) names: Vec<PathBuf>,
    pub(crate) queries: Unlabelled,
}

/// Queries, as many at a time as asked for.
pub(crate) struct Queries<'a> {
    reader: &'a Reader,
    /// What is still to be opened.
    paths: VecDeque<PathBuf>,
    /// Paths on stdin are still to come.
    stdin: bool,
    /// Files of which no more than their path is read so far.
    files: VecDeque<PathBuf>,
    /// Examples of a file of arrays, their names, and how many have been given.
    examples: Option<(Vec<PathBuf>, Array4<f32>, usize)>,
    /// Files that could not be read.
    pub(crate) failed: usize,
}

impl<'a> Queries<'a> {
    /// Refuses paths that lead nowhere.
    pub(crate) fn new(reader: &'a Reader, paths: &[PathBuf]) -> Result<Self> {
        if let Some(path) = paths.iter().find(|path| path.as_os_str() != "-" && !path.exists()) {
            return Err(Error::invalid(format!("there is no {}: no such file or directory", path.display())));
        }
        let queue = paths.iter().cloned().collect();
        Ok(Self { reader, paths: queue, stdin: false, files: VecDeque::new(), examples: None, failed: 0 })
    }

    /// The next queries, at most `count`; fewer only where a file ends or the last are given. None when there are no more.
    pub(crate) fn next(&mut self, count: usize) -> Result<Option<Batch>> {
        match self.reader {
            Reader::Numbers(input) => self.rows(*input, count),
            images => self.images(images, count),
        }
    }

    /// Passes over examples that were given before, whose names these are.
    pub(crate) fn pass_over(&mut self, names: &[PathBuf]) -> Result<()> {
        for name in names {
            // What could not be read then has no name among them.
            while self.files.front() != Some(name) {
                self.files.pop_front();
                self.look_for_files(1)?;
                if self.files.is_empty() {
                    return Err(Error::invalid(format!(
                        "{} is no longer among the examples",
                        name.display()
                    )));
                }
            }
            self.files.pop_front();
        }
        Ok(())
    }

    /// Fills `files` up to `count`.
    fn look_for_files(&mut self, count: usize) -> Result<()> {
        while self.files.len() < count {
            if self.stdin {
                let mut line = String::new();
                let read = std::io::stdin().lock().read_line(&mut line);
                match read.map_err(|error| Error::io("reading paths from", "standard input", error))? {
                    0 => self.stdin = false,
                    _ => self.paths.extend(
                        Some(line.trim_end_matches(['\n', '\r']))
                            .filter(|l| !l.is_empty())
                            .map(PathBuf::from),
                    ),
                }
            }
            let Some(path) = self.paths.pop_front() else {
                if self.stdin {
                    continue;
                }
                return Ok(());
            };
            if path.as_os_str() == "-" {
                self.stdin = true;
            } else if path.is_dir() && !matches!(self.reader, Reader::Numbers(_)) {
                let images = images_below(&path)?;
                if images.is_empty() {
                    complain(&format!("note: no image is in {}", path.display()));
                }
                self.files.extend(images);
            } else {
                self.files.push_back(path);
            }
        }
        Ok(())
    }

    fn images(&mut self, reader: &Reader, count: usize) -> Result<Option<Batch>> {
        self.look_for_files(count)?;
        let mut names: Vec<PathBuf> = self.files.drain(..count.min(self.files.len())).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let inputs = match reader.images(&names) {
            Ok(inputs) => inputs,
            // One that is broken does not cost the others.
            Err(_) => {
                let mut read = Vec::new();
                names.retain(|file| match reader.images(std::slice::from_ref(file)) {
                    Ok(input) => {
                        read.push(input);
                        true
                    }
                    Err(error) => {
                        complain(&format!("kshot: {error}"));
                        self.failed += 1;
                        false
                    }
                });
                let views: Vec<_> = read.iter().map(|input| input.view()).collect();
                if views.is_empty() {
                    return self.images(reader, count);
                }
                ndarray::concatenate(Axis(0), &views).map_err(|error| Error::invalid(error.to_string()))?
            }
        };
        Ok(Some(Batch { names, queries: Unlabelled { inputs } }))
    }

    fn rows(&mut self, input: [usize; 3], count: usize) -> Result<Option<Batch>> {
        loop {
            if let Some((names, examples, at)) = &mut self.examples {
                let to = (*at + count).min(examples.len_of(Axis(0)));
                if *at < to {
                    let inputs = examples.slice_axis(Axis(0), (*at..to).into()).to_owned();
                    let names = names[*at..to].to_vec();
                    *at = to;
                    return Ok(Some(Batch { names, queries: Unlabelled { inputs } }));
                }
            }
            self.look_for_files(1)?;
            let Some(path) = self.files.pop_front() else { return Ok(None) };
            let Examples { shape, values, names, .. } = arrays::examples(&path, false)?;
            let examples = inputs(&path, input, shape, values)?;
            let numbered = |row: usize| PathBuf::from(format!("{}#{row}", path.display()));
            let names = match names {
                Some(names) => names.into_iter().map(PathBuf::from).collect(),
                None => (0..examples.len_of(Axis(0))).map(numbered).collect(),
            };
            self.examples = Some((names, examples, 0));
        }
    }
}
