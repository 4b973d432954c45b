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
            npy("<f4", "(8, 3)", false, &[0x3f; 96]),
            npy("<f8", "(8, 1, 2, 2)", true, &[0x3f; 256]),
            npy("|u1", "(8, 4)", false, &[3; 32]),
            npy("<f2", "(8, 2)", false, &[60; 32]),
        ],
        "npz" => vec![zipped(&[("X.npy", npy("<f4", "(8, 3)", false, &[0x3f; 96])), ("y.npy", labels())])],
        "mat" => vec![mat(&[("X", [4, 2], 9, &doubles(8)), ("y", [4, 1], 9, &doubles(4))])],
        "csv" => vec![
            b"a,b,y\n1,2,p\n3,4,p\n5,6,q\n7,8,q\n".to_vec(),
            b"a,y,domain\n1,0,s\n2,1,s\n3,0,t\n4,1,t\n".to_vec(),
        ],
        "zip" => vec![zipped(&images())],
        "tar" => vec![tarred(&images())],
        "image" => vec![png(), encoded(ImageFormat::Jpeg), b"P5\n4 4\n255\n0123456789abcdef".to_vec()],
        "list" => vec![
            b"path,label\na.png,one\nb.png,two\n".to_vec(),
            b"path,label,split,group\na.png,one,train,x\nb.png,two,test,y\n".to_vec(),
        ],
        "idx" => vec![idx(3, &[20, 28, 28], 20 * 28 * 28)],
        "drawings" => vec![npy("|u1", "(3, 784)", false, &[9; 3 * 784])],
        // What these hold is as many as they should be in all their files together: see `beside`.
        "omniglot" => vec![zipped(&[
            ("images_background/Greek/character01/0001_01.png", png()),
            ("images_background/Greek/character01/0001_02.png", png()),
        ])],
        "tep" => vec![run()],
        "cwru" => vec![record()],
        "cifar" => vec![pictures(2)],
        "office" => vec![words()],
        "digits" => vec![npy("|u1", "(20, 256)", false, &[7; 5120])],
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
pub(crate) fn beside(parser: &str) -> Vec<(String, Vec<u8>)> {
    let files = |files: &[(&str, Vec<u8>)]| {
        files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect::<Vec<_>>()
    };
    match parser {
        "npy" => files(&[("y.npy", labels())]),
        "image" | "split" => {
            files(&[("set/one/b.png", png()), ("set/two/a.png", png()), ("set/two/b.png", png())])
        }
        "list" => files(&[("a.png", png()), ("b.png", png())]),
        "idx" => files(&[
            ("mnist/train-labels-idx1-ubyte", idx(1, &[20], 20)),
            ("mnist/t10k-images-idx3-ubyte", idx(3, &[20, 28, 28], 20 * 28 * 28)),
            ("mnist/t10k-labels-idx1-ubyte", idx(1, &[20], 20)),
        ]),
        "omniglot" => files(&[("omniglot/images_evaluation.zip", zipped(&images()))]),
        "tep" => (0..22)
            .flat_map(|class| ["", "_te"].map(|test| (format!("tep/d{class:02}{test}.dat"), run())))
            .collect(),
        "cwru" => ["B", "IR", "OR"]
            .into_iter()
            .flat_map(|place| ["007", "014", "021"].map(|size| format!("{place}{size}")))
            .flat_map(|fault| [0, 1, 2, 3].map(|load| format!("cwru/{fault}_load{load}_DE.npy")))
            .map(|file| (file, record()))
            .collect(),
        "cifar" => files(&[
            ("cifar-100/cifar-100-binary/fine_label_names.txt", cifar_classes()),
            ("cifar-100/cifar-100-binary/test.bin", pictures(100)),
        ]),
        "office" => ["Caltech10", "amazon", "webcam"]
            .map(|domain| (format!("office-caltech10-surf/{domain}_SURF_L10.mat"), words()))
            .into(),
        "digits" => {
            let labels: Vec<u8> = (0..20).map(|n| 1 + n % 10).collect();
            let labels = npy("|u1", "(20,)", false, &labels);
            let images = npy("|u1", "(20, 256)", false, &[7; 5120]);
            files(&[
                ("mnist-usps/mnist_X.npy", images),
                ("mnist-usps/mnist_y.npy", labels.clone()),
                ("mnist-usps/usps_y.npy", labels),
            ])
        }
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

/// MATLAB's level 5, of arrays of doubles: the name of each, `[rows, columns]`, which kind its values are stored as (2 for bytes, 9 for
/// doubles), and their bytes.
fn mat(arrays: &[(&str, [u32; 2], u32, &[u8])]) -> Vec<u8> {
    let mut file = [b"MATLAB 5.0 MAT-file".as_slice(), &[b' '; 105], &[0, 1], b"IM"].concat();
    let element = |kind: u32, bytes: &[u8]| {
        let mut bytes = [&kind.to_le_bytes()[..], &(bytes.len() as u32).to_le_bytes(), bytes].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    for (name, sizes, kind, values) in arrays {
        let parts = [
            element(6, &[6, 0, 0, 0, 0, 0, 0, 0]),
            element(5, &sizes.map(u32::to_le_bytes).concat()),
            element(1, name.as_bytes()),
            element(*kind, values),
        ];
        file.extend(element(14, &parts.concat()));
    }
    file
}

/// 0, 0, 1, 1, 2 …
fn doubles(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| f64::from(n / 2).to_le_bytes()).collect()
}

/// A run of `tep`: eight samples of 52 variables.
fn run() -> Vec<u8> {
    (0..8).map(|time| format!("{time}.5{}\n", " -1e0".repeat(51))).collect::<String>().into()
}

/// A record of `cwru`, two windows.
fn record() -> Vec<u8> {
    let samples: Vec<u8> = (0..4096_u32).map(|n| (n % 251) as u8).collect();
    npy("|u1", "(4096, 1)", false, &samples)
}

/// A domain of `office-caltech10-surf`: counts of 800 words, of four examples.
fn words() -> Vec<u8> {
    mat(&[("fts", [4, 800], 2, &[1; 3200]), ("labels", [4, 1], 2, &[1, 1, 2, 2])])
}

/// CIFAR-100's records: a superclass, a class and 32×32 pixels in colour each.
fn pictures(count: u8) -> Vec<u8> {
    (0..count).flat_map(|class| [&[0, class][..], &[class; 3072]].concat()).collect()
}

/// CIFAR-100's classes.
fn cifar_classes() -> Vec<u8> {
    let split = include_str!("../../../datasets/src/benchmarks/splits/cifar-fs.toml");
    let lines = split.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.flat_map(|line| line.split('"').skip(1).step_by(2)).collect();
    names.join("\n").into()
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
