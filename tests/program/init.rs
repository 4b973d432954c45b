//! Trainings start from weights that someone else trained.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kshot_datasets::arrays;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::fixture::Fixture;
use super::kshot::{TINY, refuse, succeed};

/// An `.npy` of float32.
fn npy(path: &Path, shape: &str, values: &[f32]) {
    let head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

type Tensor = (Dtype, Vec<usize>, Vec<u8>);
type Tensors = BTreeMap<String, Tensor>;

fn read(file: &Path) -> Tensors {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let one = |(name, view): (&str, TensorView<'_>)| {
        (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    tensors.iter().map(one).collect()
}

fn write(file: &Path, tensors: &Tensors) {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A network of PyTorch's, whose file has a prefix and another name for its first stage, embeds as PyTorch does.
fn embeds_as_in_pytorch(name: &str, extra: &[&str]) {
    let Some(fixture) = Fixture::open(name) else { return };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let mut tensors: Tensors = read(&Fixture::path(&format!("{name}.safetensors")))
        .into_iter()
        .filter_map(|(name, tensor)| {
            let name = name.strip_prefix("params/")?.replace("layer1.", "stage.");
            Some((format!("module.encoder.{name}"), tensor))
        })
        .collect();
    tensors.insert("module.encoder.bn1.num_batches_tracked".to_owned(), (Dtype::I64, vec![], vec![7; 8]));
    write(Path::new(&at("theirs.safetensors")), &tensors);

    let shape = fixture.shape("x");
    let shape = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    fs::create_dir(at("x")).unwrap();
    npy(Path::new(&at("x/X.npy")), &shape, &fixture.f32("x"));
    npy(Path::new(&at("x/y.npy")), "10,", &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
    let (path, init) = (format!("arrays.path={}", at("x")), at("theirs.safetensors"));
    let widths = format!("backbone.widths={}", fixture.metadata("widths"));
    let kind = format!("backbone.kind={name}");
    let data = ["--data=arrays", "--set", &path, "--set=arrays.fractions=[1,0,0]", "--queries=1"];
    let network = [&["--set", &kind, "--set", &widths, "--learner=prototypical"], extra].concat();
    let names = r#"--names={strip = "module.encoder.", rename = {"stage." = "layer1."}}"#;
    for (norm, embedding) in [("running", "embedding_eval"), ("batch", "embedding")] {
        let (run, norm) = (at(norm), format!("--set=backbone.norm={norm}"));
        let train = ["train", "--steps=0", "--init", &init, names, &norm, "--out", &run];
        let ran = succeed(&[&train[..], &data, &network].concat());
        let left_over = "module.encoder.head.bias, module.encoder.head.weight";
        assert!(ran.stderr.contains("none missing there; left over: module.encoder."), "{}", ran.stderr);
        // A norm by the batch has no place for running statistics.
        assert_eq!(ran.stderr.contains(&format!("left over: {left_over}\n")), norm.ends_with("running"));
        let z = at("z.npz");
        succeed(&["embed", &run, &at("x"), "--out", &z]);
        let z = arrays::examples(Path::new(&z), false).unwrap();
        fixture.assert_close(embedding, &z.values, 1e-5);
    }
}

#[test]
fn a_resnet_12_with_the_names_of_feat_embeds_as_in_pytorch() {
    embeds_as_in_pytorch("resnet12", &[]);
}

#[test]
fn a_resnet_18_with_the_names_of_torchvision_embeds_as_in_pytorch() {
    embeds_as_in_pytorch("resnet18", &["--set=backbone.stem=large"]);
}

#[test]
fn what_was_loaded_is_trained_on_or_stays_and_either_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let weights = |run: &str| read(&Path::new(&at(run)).join("best.safetensors"));
    let finetune = |out: &str, more: &[&str]| {
        let out = at(out);
        let train = ["train", "--learner=finetune", "--out", &out];
        let tiny =
            TINY.iter().copied().filter(|flag| !flag.starts_with("--steps") && !flag.contains("-every"));
        let tiny: Vec<&str> = tiny.chain(["--validate-every=2"]).collect();
        succeed(&[&train[..], &tiny[..], more].concat())
    };
    finetune("theirs", &["--steps=0"]);
    let theirs = at("theirs");
    let from = ["--seed=1", "--init", &theirs, r#"--names={rename = {"head." = "their-head."}}"#];
    for (name, frozen) in [("frozen", true), ("tuned", false)] {
        let frozen_flag = format!("--frozen={frozen}");
        let from = [&from[..], &[&frozen_flag]].concat();
        let ran = finetune(name, &[&from[..], &["--steps=4"]].concat());
        assert!(
            ran.stderr.contains("missing there: head.weight, head.bias; left over: head.bias, head.weight")
        );
        for (tensor, value) in weights(name) {
            // No gradient touches a bias under a batch norm.
            let stays = tensor.starts_with("block") && (frozen || tensor.ends_with("conv.bias"));
            assert_eq!(weights("theirs").get(&tensor) == Some(&value), stays, "{name}: {tensor}");
        }
        let parts = format!("{name}-in-parts");
        finetune(&parts, &[&from[..], &["--steps=2"]].concat());
        finetune(&parts, &[&from[..], &["--steps=4", "--resume"]].concat());
        assert!(weights(name) == weights(&parts), "{name}: resumed, it is another");
    }
    let none = at("none");
    let frozen = ["train", "--learner=prototypical", "--init", &theirs, "--frozen=true", "--out", &none];
    refuse(&[&frozen[..], TINY].concat(), &["`frozen` leaves nothing to train", "`steps = 0`"]);
    assert!(!Path::new(&none).exists());
}

#[test]
fn weights_that_do_not_fit_are_refused_with_file_tensor_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let refused = |init: &str, more: &[&str], words: &[&str]| {
        let (init, out) = (at(init), at("run"));
        let train = ["train", "--learner=prototypical", "--set=backbone.kind=resnet10", "--out", &out];
        let small = ["--set=backbone.widths=[4,4,4,4]", "--init", &init];
        refuse(&[&train[..], &small, &TINY[1..], more].concat(), &[&[init.as_str()], words].concat());
    };
    refused("nothing.safetensors", &[], &["are not there", "safetensors file, or the directory of a run"]);
    fs::write(at("weights.pt"), b"PK\x03\x04 and so on").unwrap();
    refused("weights.pt", &[], &["not a safetensors file", "safetensors.torch.save_file"]);
    fs::create_dir(at("empty")).unwrap();
    refused("empty", &[], &["empty/best.safetensors are not there"]);

    let bias = |values: &[f32]| (Dtype::F32, vec![values.len()], floats(values));
    let with = |file: &str, tensors: &[(&str, Tensor)]| {
        let tensors = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        write(Path::new(&at(file)), &tensors);
    };
    with("wide.safetensors", &[("bn1.bias", bias(&[0.0; 64]))]);
    let wide = ["`bn1.bias` of shape [64]", "is [4]", "`widths`", "rename = { \"bn1.bias\""];
    refused("wide.safetensors", &[], &wide);
    with("colour.safetensors", &[("conv1.weight", (Dtype::F32, vec![4, 3, 7, 7], floats(&[0.1; 588])))]);
    let colour =
        ["`conv1.weight` of shape [4, 3, 7, 7]", "filters of 7×7, not 3×3", "`stem`", "3 channels, not 1"];
    refused("colour.safetensors", &[], &colour);
    with("nan.safetensors", &[("bn1.bias", bias(&[0.0, f32::NAN, 0.0, 0.0]))]);
    refused("nan.safetensors", &[], &["a value in `bn1.bias` that is not finite", "diverged"]);
    with("huge.safetensors", &[("bn1.bias", (Dtype::F64, vec![4], 1e300_f64.to_le_bytes().repeat(4)))]);
    refused("huge.safetensors", &[], &["a value in `bn1.bias` that is not finite"]);
    with("counts.safetensors", &[("bn1.bias", (Dtype::I64, vec![4], vec![0; 32]))]);
    refused("counts.safetensors", &[], &["`bn1.bias` in I64", "F32, F64, F16 or BF16"]);

    // Nothing that fits is no training from scratch.
    with("prefixed.safetensors", &[("module.bn1.bias", bias(&[0.0; 4]))]);
    refused(
        "prefixed.safetensors",
        &[],
        &["`module.bn1.bias`", "none of the learner's", "--names '{strip = \"module.\"}'"],
    );
    let wrong = [r#"--names={strip = "encoder."}"#];
    with("plain.safetensors", &[("bn1.bias", bias(&[0.0; 4]))]);
    refused("plain.safetensors", &wrong, &["leave out `strip`"]);
    with("other.safetensors", &[("features.0.weight", bias(&[0.0; 4]))]);
    refused("other.safetensors", &[], &["`features.0.weight`", "`conv1.weight`", "`kind`", "`rename`"]);
    assert!(!Path::new(&at("run")).exists(), "a refused training leaves nothing behind");
}
