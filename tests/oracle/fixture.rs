//! Reads a fixture and compares with it, tensor by tensor and norm-wise.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot::params::{Layout, Params};
use ndarray::Array4;
use safetensors::{Dtype, SafeTensors};

pub struct Fixture {
    name: String,
    bytes: Vec<u8>,
}

impl Fixture {
    /// The fixture `NAME.safetensors`, or `None`, said aloud, where there are no fixtures.
    pub fn open(name: &str) -> Option<Self> {
        let path = Self::path(&format!("{name}.safetensors"));
        if !path.exists() {
            eprintln!("SKIPPED: no {}; set KSHOT_FIXTURES", path.display());
            return None;
        }
        Some(Self { name: name.to_owned(), bytes: std::fs::read(path).unwrap() })
    }

    /// Where a file of the fixtures is.
    pub fn path(file: &str) -> PathBuf {
        // Beside the checkout.
        let beside = || {
            let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
            let mut folders = above.map(|folder| folder.join("shared/fixtures"));
            folders.find(|folder| folder.is_dir()).unwrap_or_default()
        };
        let folder = std::env::var_os("KSHOT_FIXTURES").map_or_else(beside, PathBuf::from);
        folder.join(file)
    }

    fn view(&self, tensor: &str) -> (Vec<usize>, Dtype, Vec<u8>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(tensor).unwrap_or_else(|_| panic!("{} has no {tensor}", self.name));
        (view.shape().to_vec(), view.dtype(), view.data().to_vec())
    }

    /// A setting the fixture was computed with.
    pub fn metadata(&self, key: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let settings = header.metadata().as_ref().unwrap();
        settings.get(key).unwrap_or_else(|| panic!("{} says no {key}", self.name)).clone()
    }

    pub fn shape(&self, tensor: &str) -> Vec<usize> {
        self.view(tensor).0
    }

    pub fn f64(&self, tensor: &str) -> Vec<f64> {
        let (_, dtype, data) = self.view(tensor);
        match dtype {
            Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::F32 => {
                data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            other => panic!("{tensor} is {other:?}"),
        }
    }

    pub fn f32(&self, tensor: &str) -> Vec<f32> {
        self.f64(tensor).into_iter().map(|v| v as f32).collect()
    }

    pub fn labels(&self, tensor: &str) -> Vec<usize> {
        let (_, dtype, data) = self.view(tensor);
        assert_eq!(dtype, Dtype::I64);
        data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize).collect()
    }

    pub fn images(&self, tensor: &str) -> Array4<f32> {
        let shape = self.shape(tensor);
        Array4::from_shape_vec((shape[0], shape[1], shape[2], shape[3]), self.f32(tensor)).unwrap()
    }

    /// The tensors `PREFIX/NAME` of a layout, as one vector.
    pub fn params(&self, prefix: &str, layout: &Arc<Layout>) -> Params {
        let mut params = Params::zeros(layout);
        for entry in layout.entries() {
            params.values_mut()[entry.range.clone()]
                .copy_from_slice(&self.f32(&format!("{prefix}/{}", entry.name)));
        }
        params
    }

    /// Asserts that `actual` is `tensor` within a relative error, norm-wise; absolute where the value is zero.
    pub fn assert_close(&self, tensor: &str, actual: &[f32], tolerance: f64) {
        let expected = self.f64(tensor);
        assert_eq!(expected.len(), actual.len(), "{}: {tensor}", self.name);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let error = norm(&mut expected.iter().zip(actual).map(|(e, a)| e - f64::from(*a)));
        let size = norm(&mut expected.iter().copied());
        // The gradient of a convolution's bias under batch norm is zero but for rounding.
        let allowed = if size < 1e-9 { 1e-5 } else { tolerance * size };
        assert!(
            error <= allowed,
            "{}: {tensor} is off by {error:e}, allowed {allowed:e} (norm {size:e})",
            self.name
        );
    }

    /// [`Self::assert_close`] for each tensor of a gradient.
    pub fn assert_params_close(&self, prefix: &str, actual: &Params, tolerance: f64) {
        for entry in actual.layout().entries() {
            self.assert_close(
                &format!("{prefix}/{}", entry.name),
                &actual.values()[entry.range.clone()],
                tolerance,
            );
        }
    }
}
