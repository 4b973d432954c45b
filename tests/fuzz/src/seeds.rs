//! Small files of each kind that are read, which mutations start from.

use std::io::{Cursor, Write as _};

use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use kshot::checkpoint;
use kshot::dataset::{Description, StoreWriter};
use kshot::params::{Layout, Params, Role};
use zip::write::SimpleFileOptions;

/// Files that a parser reads whole.
///
/// # Panics
/// When there is no such parser.
pub fn seeds(parser: &str) -> Vec<Vec<u8>> {
    match parser {
        "npy" => vec![
            npy("<f4", "(8, 3)", false, &[1; 96]),
            npy("<f8", "(8, 1, 2, 2)", true, &[2; 256]),
            npy("|u1", "(8, 4)", false, &[3; 32]),
            npy("<f2", "(8, 2)", false, &[60; 32]),
        ],
        "npz" => vec![zipped(&[("X.npy", npy("<f4", "(8, 3)", false, &[1; 96])), ("y.npy", labels())])],
        "mat" => vec![mat()],
        "csv" => vec![
            b"a,b,y\n1,2,p\n3,4,p\n5,6,q\n7,8,q\n".to_vec(),
            b"a,y,domain\n1,0,s\n2,1,s\n3,0,t\n4,1,t\n".to_vec(),
        ],
        "zip" => vec![zipped(&images())],
        "tar" => vec![tarred(&images())],
        "image" => vec![png(), encoded(ImageFormat::Jpeg), b"P5\n4 4\n255\n0123456789abcdef".to_vec()],
        "list" => vec![
            b"path,label\na.png,one\na.png,two\n".to_vec(),
            b"path,label,split,group\na.png,one,train,x\na.png,two,test,y\n".to_vec(),
        ],
        "idx" => vec![idx(3, &[20, 28, 28], 20 * 28 * 28)],
        "drawings" => vec![npy("|u1", "(3, 784)", false, &[9; 3 * 784])],
        "checkpoint" => vec![weights()],
        "manifest" => vec![
            br#"{"episodes":[{"support":[{"file":"0/0.png","label":0},{"file":"1/4.png","label":1}],"query":[{"file":"0/1.png","label":0},{"file":"1/5.png","label":1}]}]}"#
                .to_vec(),
        ],
        "store" => vec![store()],
        "split" => vec![b"train = [\"one\"]\nvalidation = []\ntest = [\"two\"]\n".to_vec()],
        other => panic!("no parser is called {other}"),
    }
}

/// Files beside the one that is read.
pub(crate) fn beside(parser: &str) -> Vec<(&'static str, Vec<u8>)> {
    match parser {
        "npy" => vec![("y.npy", labels())],
        "image" | "split" => {
            vec![("set/one/b.png", png()), ("set/two/a.png", png()), ("set/two/b.png", png())]
        }
        "list" => vec![("a.png", png())],
        "idx" => vec![
            ("mnist/train-labels-idx1-ubyte", idx(1, &[20], 20)),
            ("mnist/t10k-images-idx3-ubyte", idx(3, &[20, 28, 28], 20 * 28 * 28)),
            ("mnist/t10k-labels-idx1-ubyte", idx(1, &[20], 20)),
        ],
        _ => Vec::new(),
    }
}

fn npy(kind: &str, shape: &str, fortran: bool, values: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let head = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\0", &(head.len() as u16).to_le_bytes()[..], head.as_bytes(), values].concat()
}

/// Of eight examples.
fn labels() -> Vec<u8> {
    npy("<i8", "(8,)", false, &[0_i64, 0, 1, 1, 2, 2, 3, 3].map(i64::to_le_bytes).concat())
}

/// MATLAB's level 5: `X` `[4, 2]` and `y` `[4, 1]`, in doubles.
fn mat() -> Vec<u8> {
    let mut file = [b"MATLAB 5.0 MAT-file".as_slice(), &[b' '; 105], &[0, 1], b"IM"].concat();
    let element = |kind: u32, bytes: &[u8]| {
        let mut bytes = [&kind.to_le_bytes()[..], &(bytes.len() as u32).to_le_bytes(), bytes].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    for (name, columns, values) in [("X", 2_u32, 8), ("y", 1, 4)] {
        let values: Vec<u8> = (0..values).flat_map(|n| f64::from(n / 2).to_le_bytes()).collect();
        let parts = [
            element(6, &[6, 0, 0, 0, 0, 0, 0, 0]),
            element(5, &[4_u32.to_le_bytes(), columns.to_le_bytes()].concat()),
            element(1, name.as_bytes()),
            element(9, &values),
        ];
        file.extend(element(14, &parts.concat()));
    }
    file
}

fn idx(dimensions: u8, sizes: &[u32], bytes: usize) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
    let values = (0..bytes).map(|n| (n % 10) as u8).collect::<Vec<_>>();
    [&[0, 0, 8, dimensions][..], &sizes, &values].concat()
}

fn png() -> Vec<u8> {
    encoded(ImageFormat::Png)
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let image = match format {
        ImageFormat::Png => {
            DynamicImage::from(RgbaImage::from_fn(6, 5, |x, y| [x as u8, y as u8, 9, 200].into()))
        }
        _ => DynamicImage::from(RgbImage::from_fn(6, 5, |x, y| [x as u8, y as u8, 9].into())),
    };
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("an image");
    bytes.into_inner()
}

fn images() -> Vec<(&'static str, Vec<u8>)> {
    ["one/a.png", "one/b.png", "two/a.png", "two/b.png"].map(|name| (name, png())).into()
}

fn zipped(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        zip.write_all(bytes).expect("an entry");
    }
    zip.finish().expect("a zip").into_inner()
}

fn tarred(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut head = tar::Header::new_gnu();
        head.set_size(bytes.len() as u64);
        head.set_mode(0o644);
        tar.append_data(&mut head, name, &bytes[..]).expect("an entry");
    }
    tar.into_inner().expect("a tar")
}

fn weights() -> Vec<u8> {
    let mut layout = Layout::new();
    layout.push("conv.weight", &[2, 3], Role::Weight);
    layout.push("norm.running_mean", &[2], Role::Statistic);
    let theta = Params::zeros(&layout.into());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.safetensors");
    checkpoint::write(&path, &"a checkpoint", &theta, &[("velocity", &theta)]).expect("a checkpoint");
    std::fs::read(path).expect("a checkpoint")
}

fn store() -> Vec<u8> {
    let words = |text: &str| text.to_owned();
    let description = Description {
        dataset: words("folder"),
        source: words("set"),
        prepared: words("2×2 grey"),
        key: words("0"),
        state: words("1"),
        images: 3,
        shape: [1, 2, 2],
        made: 0,
    };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("images");
    let mut writer = StoreWriter::create(&path, &description).expect("a store");
    writer.push(&[7; 12]).and_then(|()| writer.finish()).expect("a store");
    std::fs::read(path).expect("a store")
}
