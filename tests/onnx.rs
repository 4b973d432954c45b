//! Encoders of ONNX files: ONNX Runtime's outputs, in batches of any size. `cargo test --release -p kshot --features onnx
//! --test onnx`.

// A test fails by panicking, its helpers too.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "oracle/fixture.rs"]
mod fixture;

use std::path::Path;

use kshot::embedding::Embedding;
use ndarray::{Array4, Axis};

use fixture::Fixture;

#[test]
fn oracle_encoders() {
    let Some(fixture) = Fixture::open("onnx/onnx") else { return };
    for name in ["resnet", "mobilenet_v3", "vit"] {
        let shape = fixture.shape(&format!("{name}/x"));
        let values = fixture.f32(&format!("{name}/x"));
        let x = Array4::from_shape_vec((shape[0], shape[1], shape[2], shape[3]), values).unwrap();
        let file = Fixture::path(&format!("onnx/{name}.onnx"));
        let encoder = Embedding::read(&file, [shape[1], shape[2], shape[3]]).unwrap();
        let all = encoder.of(x.view()).unwrap();
        let expected = fixture.f32(&format!("{name}/embedding"));
        let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        assert_eq!(all.len(), expected.len(), "{name}");
        for (ours, theirs) in all.iter().zip(&expected) {
            assert!((ours - theirs).abs() <= 1e-5 * scale, "{name}: {ours}, expected {theirs}");
        }
        // Alone, as among others.
        let alone = encoder.of(x.slice_axis(Axis(0), (2..3).into())).unwrap();
        let off = (&alone.row(0) - &all.row(2)).iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        assert!(off <= 1e-5 * scale, "{name}: {off}");
    }
    let other = Embedding::read(&Fixture::path("onnx/resnet.onnx"), [1, 9, 9]);
    assert!(other.err().unwrap().to_string().contains("resnet.onnx"));
    let none = Embedding::read(Path::new("nothing.onnx"), [3, 64, 64]);
    assert!(none.err().unwrap().to_string().contains("no such file"));
}

#[test]
fn an_operator_that_is_not_known_is_named() {
    // A model of one node, `Acme` of the domain `com.acme`, from `x` `[1, 1]` to `z`, in ONNX's protocol buffers.
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let node = [field(1, b"x"), field(2, b"z"), field(4, b"Acme"), field(7, b"com.acme")].concat();
    let dimension = field(1, &[0x08, 1]);
    let shape = [dimension.clone(), dimension].concat();
    let tensor = [&[0x08, 1][..], &field(2, &shape)].concat();
    let value = |name: &[u8]| [field(1, name), field(2, &field(1, &tensor))].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value(b"x")), field(12, &value(b"z"))].concat();
    let opset = [field(1, b"com.acme"), vec![0x10, 1]].concat();
    let model = [vec![0x08, 8], field(7, &graph), field(8, &opset)].concat();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.onnx");
    std::fs::write(&file, model).unwrap();
    let error = Embedding::read(&file, [1, 8, 8]).err().unwrap().to_string();
    assert!(error.contains("acme.onnx uses the operator `Acme`"), "{error}");
}

/// Bits turned over, pieces cut out, ends cut off: a network that still runs, or an error that names the file; never a panic.
#[test]
fn a_damaged_file_is_an_error_with_its_name() {
    let Some(_) = Fixture::open("onnx/onnx") else { return };
    let whole = std::fs::read(Fixture::path("onnx/resnet.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.onnx");
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut refused = 0;
    for _ in 0..200 {
        let mut bytes = whole.clone();
        match draw(3) {
            // Most of the file is weights; what they are weights of is at its beginning and end.
            0 => (0..1 + draw(4)).for_each(|_| {
                let near = draw(2000.min(bytes.len()));
                let at = if draw(2) == 0 { near } else { bytes.len() - 1 - near };
                bytes[at] ^= 1 << draw(8);
            }),
            1 => bytes.truncate(draw(whole.len())),
            _ => {
                let from = draw(whole.len());
                let to = (from + 1 + draw(64)).min(whole.len());
                bytes.drain(from..to);
            }
        }
        std::fs::write(&file, bytes).unwrap();
        let outcome = Embedding::read(&file, [3, 64, 64])
            .and_then(|encoder| encoder.of(Array4::zeros((1, 3, 64, 64)).view()).map(drop));
        if let Err(error) = outcome {
            assert!(error.to_string().contains("damaged.onnx"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 50, "{refused}");
}
