//! Where Omniglot is published, and how its files are known.

use super::drawings::PARTS;
use crate::download::{Checksum, RemoteFile};

/// Size in bytes and SHA-256 of each part's zip, upstream's first (as TensorFlow Datasets records them), then of a
/// smaller packing of the same drawings.
const ACCEPTED: [[(u64, &str); 2]; 2] = [
    [
        (9_464_212, "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"),
        (8_394_302, "48e3eb681da78ada9b0c752daf5568437866563f31463569db987b76682a572b"),
    ],
    [
        (6_462_886, "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"),
        (5_732_517, "b73ae240ea37feca3714ff73e84b235456a79bf0ad49c1750e71bc80b7ec30ca"),
    ],
];

/// The two zips.
pub(crate) fn remote_files() -> Vec<RemoteFile> {
    let file = |(name, accepted): (&str, [(u64, &str); 2])| RemoteFile {
        name: format!("{name}.zip"),
        url: format!("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{name}.zip"),
        accepted: accepted.map(|(size, sha256)| Checksum { size, sha256: sha256.to_owned() }).to_vec(),
    };
    PARTS.iter().map(|part| part.name).zip(ACCEPTED).map(file).collect()
}
