//! Archives that anyone may have packed: zip, tar and tar.gz, and single files packed by gzip or zlib.
//!
//! What an archive says of itself is believed as far as it bears out. Refused are entries that would be written elsewhere, links
//! and devices, names that are not UTF-8, and whatever is beyond these limits:
//!
//! | of | limit |
//! | --- | --- |
//! | entries of an archive | 4,000,000 |
//! | an image or a list in it, unpacked | 1 GiB |
//! | all of it, unpacked | 256 GiB, and 256 times its packed size where that is more than 256 MiB |
//! | a zip's directory; a tar entry's head, with its long name | 256 MiB; 1 MiB |

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use kshot::{Error, Result, file};
use tar::EntryType;
use zip::ZipArchive;

/// ImageNet has 1.3 million.
const MOST_ENTRIES: usize = 4_000_000;
/// Of an entry that is unpacked to the disk, in bytes.
const MOST_OF_ENTRY: u64 = 1 << 30;
const MOST_OF_ARCHIVE: u64 = 256 << 30;
/// Deflate comes to 1032; images to about 1, features that are mostly zeros to 100.
const MOST_TIMES: u64 = 256;
/// So much is unpacked of anything, however small it is packed.
const ALWAYS: u64 = 256 << 20;
const MOST_DIRECTORY: u64 = 256 << 20;
const MOST_HEAD: u64 = 1 << 20;

/// What so many packed bytes may come to.
pub(crate) fn most_of(packed: u64) -> u64 {
    packed.saturating_mul(MOST_TIMES).clamp(ALWAYS, MOST_OF_ARCHIVE)
}

/// All that a decoder gives of so many packed bytes, at most `most`.
///
/// # Errors
/// When it is more, or broken.
pub(crate) fn unpacked(decoder: impl Read, packed: u64, most: u64) -> Result<Vec<u8>, String> {
    let most = most.min(most_of(packed));
    let mut bytes = Vec::new();
    decoder.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > most {
        true => Err(format!("is more than {most} bytes long unpacked, for {packed} packed")),
        false => Ok(bytes),
    }
}

/// Gives the entries that are `wanted`, by their place below the directory that the archive is unpacked to, to `keep`, which
/// says how many bytes it took.
///
/// # Errors
/// What is refused, with the archive, the entry and the reason; and those of `keep`.
pub(crate) fn each(
    path: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    keep: &mut dyn FnMut(&Path, &mut dyn Read) -> io::Result<u64>,
) -> Result<()> {
    let file = file::open(path, "reading the archive")?;
    let packed = file.metadata().map_err(|error| Error::io("reading the archive", path, error))?.len();
    let file = BufReader::new(file);
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let all = match ending.as_str() {
        "zip" => each_of_zip(file, wanted, keep),
        "tar" => each_of_tar(file, packed, wanted, keep),
        _ => each_of_tar(MultiGzDecoder::new(file), packed, wanted, keep),
    };
    all.map_err(|why| Error::invalid(format!("unpacking {}: {why}", path.display())))
}

fn each_of_zip(
    source: impl Read + Seek,
    wanted: &dyn Fn(&Path) -> bool,
    keep: &mut dyn FnMut(&Path, &mut dyn Read) -> io::Result<u64>,
) -> Result<(), String> {
    let mut zip = Zip::open(source)?;
    for number in 0..zip.len() {
        let (name, kind) = zip.name_and_mode(number)?;
        let lossy = String::from_utf8_lossy(&name).into_owned();
        let of_entry = |why: String| format!("its entry `{}` {why}", shown(&lossy));
        if lossy.ends_with(['/', '\\']) || !wanted(Path::new(&lossy)) {
            continue;
        }
        let place = place(&name).map_err(of_entry)?;
        // The kind of file, as Unix has it; none, or a plain file.
        if kind.is_some_and(|mode| ![0, 0o100_000].contains(&(mode & 0o170_000))) {
            return Err(of_entry(format!("is a link or a device, {PACK_FILES}")));
        }
        zip.take(number, MOST_OF_ENTRY, &mut |bytes| keep(&place, bytes)).map_err(of_entry)?;
    }
    Ok(())
}

const PACK_FILES: &str = "not a file: pack the files that links lead to";

fn each_of_tar(
    source: impl Read,
    packed: u64,
    wanted: &dyn Fn(&Path) -> bool,
    keep: &mut dyn FnMut(&Path, &mut dyn Read) -> io::Result<u64>,
) -> Result<(), String> {
    let (source, allowance) = Metered::new(source, MOST_HEAD);
    let mut tar = tar::Archive::new(source);
    let mut entries = tar.entries().map_err(|error| error.to_string())?;
    let mut budget = Budget { packed, unpacked: 0 };
    // Of the entry before, which is skipped on the way to the next.
    let mut unread = 0u64;
    for number in 1.. {
        let most = unread.saturating_add(MOST_HEAD);
        allowance.set(most);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|error| format!("its entry number {number} is broken: {error}"))?;
        if number > MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} entries"));
        }
        let name = entry.path_bytes().into_owned();
        let lossy = String::from_utf8_lossy(&name).into_owned();
        let of_entry = |why: String| format!("its entry `{}` {why}", shown(&lossy));
        let size = entry.size();
        // What is left out has to be unpacked too, and so have long names.
        let head = (most - allowance.left()).saturating_sub(unread);
        budget.spend(size.saturating_add(head)).map_err(of_entry)?;
        allowance.set(size.saturating_add(MOST_HEAD));
        unread = size;
        let kind = entry.header().entry_type();
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous);
        if wanted(Path::new(&lossy)) && !kind.is_dir() {
            let place = place(&name).map_err(of_entry)?;
            if !is_file {
                return Err(of_entry(format!("is {}, {PACK_FILES}", what(kind))));
            }
            checked(size, MOST_OF_ENTRY, &mut entry, &mut |bytes| keep(&place, bytes)).map_err(of_entry)?;
            unread = 0;
        }
    }
    Ok(())
}

fn what(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink | EntryType::Link => "a link",
        EntryType::Fifo => "a pipe",
        EntryType::Block | EntryType::Char => "a device",
        EntryType::GNUSparse => "a file with holes",
        _ => "of an unknown kind",
    }
}

/// A zip whose entries are taken one by one.
#[derive(Clone)]
pub(crate) struct Zip<R> {
    zip: ZipArchive<Metered<R>>,
    budget: Budget,
}

impl<R: Read + Seek> Zip<R> {
    /// Reads the directory at its end.
    pub(crate) fn open(mut source: R) -> Result<Self, String> {
        let packed = source.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        // It is looked for from the end on, and may be made so that it is never found.
        let (source, allowance) =
            Metered::new(source, MOST_DIRECTORY.min(packed.saturating_mul(16)) + MOST_HEAD);
        let zip = ZipArchive::new(source).map_err(|error| error.to_string())?;
        allowance.set(u64::MAX);
        match zip.len() > MOST_ENTRIES {
            true => Err(format!("it has {} entries, more than the {MOST_ENTRIES} that are read", zip.len())),
            false => Ok(Self { zip, budget: Budget { packed, unpacked: 0 } }),
        }
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.zip.len()
    }

    /// The name of an entry, for comparison.
    pub(crate) fn name(&mut self, number: usize) -> Result<String, String> {
        self.name_and_mode(number).map(|(name, _)| String::from_utf8_lossy(&name).into_owned())
    }

    fn name_and_mode(&mut self, number: usize) -> Result<(Vec<u8>, Option<u32>), String> {
        let entry =
            self.zip.by_index_raw(number).map_err(|error| format!("its entry number {number}: {error}"))?;
        Ok((entry.name_raw().to_vec(), entry.unix_mode()))
    }

    /// The number of the entry with this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.zip.index_for_name(name)
    }

    /// An entry, which may be `most` bytes long.
    pub(crate) fn unpack(&mut self, number: usize, most: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.take(number, most, &mut |entry| entry.read_to_end(&mut bytes).map(|length| length as u64))?;
        Ok(bytes)
    }

    fn take(&mut self, number: usize, most: u64, keep: Keep<'_>) -> Result<(), String> {
        let mut entry = self.zip.by_index(number).map_err(|error| error.to_string())?;
        let said = entry.size();
        self.budget.spend(said)?;
        checked(said, most, &mut entry, keep)
    }
}

type Keep<'a> = &'a mut dyn FnMut(&mut dyn Read) -> io::Result<u64>;

/// Gives an entry to `keep`, unless it is longer than it may be or says.
fn checked(said: u64, most: u64, entry: &mut dyn Read, keep: Keep<'_>) -> Result<(), String> {
    if said > most {
        return Err(format!("is {said} bytes long unpacked, more than the {most} that are read"));
    }
    match keep(&mut entry.take(said + 1)).map_err(|error| error.to_string())? {
        length if length > said => Err(format!("is longer than the {said} bytes it says")),
        length if length < said => Err(format!("is {length} bytes long, not the {said} it says")),
        _ => Ok(()),
    }
}

/// What has been unpacked of an archive.
#[derive(Clone)]
struct Budget {
    packed: u64,
    unpacked: u64,
}

impl Budget {
    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        let most = most_of(self.packed);
        match self.unpacked > most {
            true => Err(format!(
                "is too much: with it, the archive's {} bytes come to {}, and no more than {most} are unpacked; unpack it \
                 yourself if you trust it",
                self.packed, self.unpacked
            )),
            false => Ok(()),
        }
    }
}

/// A source of which only so many bytes may be read.
#[derive(Clone)]
struct Metered<R> {
    source: R,
    left: Arc<AtomicU64>,
}

/// How many these are.
struct Allowance(Arc<AtomicU64>);

impl<R> Metered<R> {
    fn new(source: R, most: u64) -> (Self, Allowance) {
        let left = Arc::new(AtomicU64::new(most));
        (Self { source, left: left.clone() }, Allowance(left))
    }
}

impl Allowance {
    fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("its directory or head is longer than any is"));
        }
        let read = self.source.by_ref().take(left).read(buffer)?;
        if left != u64::MAX {
            self.left.store(left - read as u64, Ordering::Relaxed);
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

/// Where an entry is to lie below the directory that the archive is unpacked to.
fn place(name: &[u8]) -> Result<PathBuf, String> {
    let name = std::str::from_utf8(name)
        .map_err(|_| "has a name that is not UTF-8: pack it again with names in UTF-8".to_owned())?;
    // Also as Windows writes it, whatever system this is.
    let name = name.replace('\\', "/");
    let leads_out = name.starts_with('/')
        || name.as_bytes().get(1) == Some(&b':')
        || name.split('/').any(|part| part == "..");
    if leads_out {
        return Err("would be written elsewhere: its name leads out of the archive".to_owned());
    }
    Ok(name.split('/').filter(|part| !["", "."].contains(part)).collect())
}

/// A name for a message: nothing that a terminal obeys, and not all of a long one.
fn shown(name: &str) -> String {
    const MOST: usize = 120;
    let mut shown: String =
        name.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
