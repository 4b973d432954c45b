//! Reading the drawings: out of a zip as published, or out of the folder it extracts to.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder as _};
use kshot::{Error, Result, file};
use rayon::prelude::*;

use crate::archive::Zip;
use crate::area_average::AreaAverage;

/// Height and width of a drawing in the files, in pixels.
pub(super) const FILE_SIZE: usize = 105;
/// Drawings of each character, each by another person.
const DRAWINGS: usize = 20;
/// More than this is no 105×105 drawing: refused before it is unpacked.
const MOST_BYTES: u64 = 1 << 20;
/// The zips are of 9 and 6 MB.
const MOST_OF_ZIP: u64 = 1 << 30;

/// One of the two parts Omniglot is published in.
pub(super) struct Part {
    /// Name of the zip without `.zip`, and of the folder it extracts to.
    pub(super) name: &'static str,
    /// Characters in it.
    pub(super) characters: usize,
}

/// Background and evaluation set.
pub(super) const PARTS: [Part; 2] = [
    Part { name: "images_background", characters: 964 },
    Part { name: "images_evaluation", characters: 659 },
];

/// A character and its drawings.
pub(super) struct Character {
    /// `ALPHABET/characterNN`.
    pub(super) name: String,
    /// Numbers of its images.
    pub(super) images: Vec<u32>,
}

impl Character {
    pub(super) fn alphabet(&self) -> &str {
        self.name.split_once('/').map_or("", |(alphabet, _)| alphabet)
    }
}

/// Images read so far, of both parts.
#[derive(Default)]
pub(super) struct Drawn {
    /// `[images, size, size]`, ink = 255.
    pub(super) pixels: Vec<u8>,
    /// File name of each.
    pub(super) names: Vec<String>,
}

/// A drawing to be read.
struct Drawing {
    /// `ALPHABET/characterNN`.
    character: String,
    /// `IIII_DD.png`.
    file: String,
    /// Its entry in the zip; unused in a folder.
    entry: usize,
}

/// A zip in memory, shared by the threads that unpack it.
type Bytes = Cursor<Arc<[u8]>>;

/// Where a part's drawings are read from.
enum Source {
    Zip(PathBuf, Zip<Bytes>),
    Folder(PathBuf),
}

/// The zip or folder of `part`, the first that exists of `DIR/omniglot/NAME.zip`, `DIR/omniglot/NAME/`, `DIR/NAME.zip`
/// and `DIR/NAME/`.
pub(super) fn locate(data_dir: &Path, part: &Part) -> Result<PathBuf> {
    let folders = [data_dir.join("omniglot"), data_dir.to_path_buf()];
    folders
        .iter()
        .flat_map(|folder| [folder.join(format!("{}.zip", part.name)), folder.join(part.name)])
        .find(|path| path.exists())
        .ok_or_else(|| {
            Error::invalid(format!(
                "Omniglot's {name}.zip was not found: looked for it, and for the folder {name} it extracts to, in {} \
                 and in {}; get it with `kshot data get omniglot`, or say with --data-dir where it is",
                folders[0].display(),
                folders[1].display(),
                name = part.name,
            ))
        })
}

/// Reads a part's drawings from `path`, appends them to `images` as `size` × `size` pixels, and returns its characters
/// by name.
pub(super) fn read(path: &Path, part: &Part, size: usize, images: &mut Drawn) -> Result<Vec<Character>> {
    let (source, mut drawings) = if path.is_dir() { list_folder(path)? } else { list_zip(path, part)? };
    drawings.sort_by(|a, b| (&a.character, &a.file).cmp(&(&b.character, &b.file)));
    let first = images.names.len();
    let characters = by_character(path, part, &drawings, first)?;

    let area = size * size;
    images.pixels.resize((first + drawings.len()) * area, 0);
    let average = AreaAverage::new([FILE_SIZE, FILE_SIZE], [size, size]);
    let (_, new) = images.pixels.split_at_mut(first * area);
    // Small jobs of neighbouring entries: each starts with a reader of its own, which shares the zip's directory.
    const JOB: usize = 100;
    new.par_chunks_mut(JOB * area).zip(drawings.par_chunks(JOB)).try_for_each(|(pixels, drawings)| {
        let mut reader = source.reader();
        for (image, drawing) in pixels.chunks_exact_mut(area).zip(drawings) {
            let ink = decode(&reader.read(drawing)?).map_err(|wrong| {
                Error::invalid(format!(
                    "{} in {} is not a drawing of Omniglot: {wrong}; get the dataset again with `kshot data get \
                     omniglot`",
                    drawing.path(),
                    path.display()
                ))
            })?;
            average.resample(&ink, image);
        }
        Ok::<_, Error>(())
    })?;
    images.names.extend(drawings.into_iter().map(|drawing| drawing.file));
    Ok(characters)
}

impl Source {
    /// A reader for one thread.
    fn reader(&self) -> Reader<'_> {
        match self {
            Self::Zip(path, archive) => Reader::Zip(path, archive.clone()),
            Self::Folder(path) => Reader::Folder(path),
        }
    }
}

/// Reads the files of drawings.
enum Reader<'a> {
    Zip(&'a Path, Zip<Bytes>),
    Folder(&'a Path),
}

impl Reader<'_> {
    /// The bytes of a drawing's file.
    fn read(&mut self, drawing: &Drawing) -> Result<Vec<u8>> {
        match self {
            Self::Zip(path, archive) => archive
                .unpack(drawing.entry, MOST_BYTES)
                .map_err(|wrong| broken_zip(path, &format!("{} {wrong}", drawing.path()))),
            Self::Folder(folder) => {
                file::bytes(&folder.join(drawing.path()), MOST_BYTES, "reading the drawing")
            }
        }
    }
}

fn broken_zip(path: &Path, wrong: &str) -> Error {
    Error::invalid(format!(
        "{} is not a whole zip file ({wrong}); remove it and get it again with `kshot data get omniglot`",
        path.display()
    ))
}

/// The drawings in a zip: its entries `NAME/ALPHABET/characterNN/IIII_DD.png`.
fn list_zip(path: &Path, part: &Part) -> Result<(Source, Vec<Drawing>)> {
    let bytes: Arc<[u8]> = file::bytes(path, MOST_OF_ZIP, "reading")?.into();
    let mut archive = Zip::open(Cursor::new(bytes)).map_err(|why| broken_zip(path, &why))?;
    let drawings = (0..archive.len())
        .filter_map(|entry| {
            let name = archive.name(entry).ok()?;
            let name = name.strip_prefix(part.name)?.strip_prefix('/')?;
            let (character, file) = name.rsplit_once('/')?;
            let in_place = character.matches('/').count() == 1 && file.ends_with(".png");
            in_place.then(|| Drawing { character: character.to_owned(), file: file.to_owned(), entry })
        })
        .collect();
    Ok((Source::Zip(path.to_path_buf(), archive), drawings))
}

/// The drawings in a folder: its files `ALPHABET/characterNN/IIII_DD.png`.
fn list_folder(path: &Path) -> Result<(Source, Vec<Drawing>)> {
    let mut drawings = Vec::new();
    for alphabet in names(path)? {
        for character in names(&path.join(&alphabet))? {
            for file in names(&path.join(&alphabet).join(&character))? {
                if file.ends_with(".png") {
                    let character = format!("{alphabet}/{character}");
                    drawings.push(Drawing { character, file, entry: 0 });
                }
            }
        }
    }
    Ok((Source::Folder(path.to_path_buf()), drawings))
}

/// What a folder holds, hidden files left out; nothing for a file.
fn names(folder: &Path) -> Result<Vec<String>> {
    if folder.is_file() {
        return Ok(Vec::new());
    }
    let failed = |error| Error::io("listing the folder", folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().into_string().map_err(|name| {
            let (folder, name) = (folder.display(), name.display());
            Error::invalid(format!(
                "{folder} holds `{name}`, whose name is not UTF-8: rename it, or take it out"
            ))
        })?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

impl Drawing {
    /// `ALPHABET/characterNN/IIII_DD.png`.
    fn path(&self) -> String {
        format!("{}/{}", self.character, self.file)
    }
}

/// Groups sorted drawings by character; the first is image number `first`.
fn by_character(path: &Path, part: &Part, drawings: &[Drawing], first: usize) -> Result<Vec<Character>> {
    let mut characters: Vec<Character> = Vec::with_capacity(part.characters);
    for (number, drawing) in drawings.iter().enumerate() {
        let image = (first + number) as u32;
        match characters.last_mut() {
            Some(last) if last.name == drawing.character => last.images.push(image),
            _ => characters.push(Character { name: drawing.character.clone(), images: vec![image] }),
        }
    }
    let wrong = if characters.len() != part.characters {
        format!("{} characters, but there should be {}", characters.len(), part.characters)
    } else if let Some(wrong) = characters.iter().find(|character| character.images.len() != DRAWINGS) {
        format!("{} drawings of {}, but there should be {DRAWINGS}", wrong.images.len(), wrong.name)
    } else {
        return Ok(characters);
    };
    Err(Error::invalid(format!(
        "{} is not Omniglot's {}: it holds {wrong}; get it again with `kshot data get omniglot`",
        path.display(),
        part.name
    )))
}

/// Unpacks a PNG to ink, `[105, 105]`: 255 where the file, dark on light, has 0.
fn decode(png: &[u8]) -> Result<Vec<u8>, String> {
    let decoder = PngDecoder::new(Cursor::new(png)).map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if (height as usize, width as usize) != (FILE_SIZE, FILE_SIZE) {
        return Err(format!("it is {height}×{width} pixels, not {FILE_SIZE}×{FILE_SIZE}"));
    }
    let image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    Ok(image.into_luma8().into_raw().into_iter().map(|paper| 255 - paper).collect())
}
