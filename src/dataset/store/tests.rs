//! Stores are read back as they were written, and never believed.

use std::fs;

use proptest::prelude::*;

use super::*;

const SHAPE: [usize; 3] = [1, 2, 3];

fn description(images: u32) -> Description {
    Description {
        dataset: "folder".into(),
        source: "/data/trees".into(),
        prepared: "3×2".into(),
        key: "key".into(),
        state: "state".into(),
        images,
        shape: SHAPE,
        made: 1,
    }
}

/// Images 0, 1, 2 … of six bytes each.
fn written(directory: &Path, images: u32) -> PathBuf {
    let path = directory.join("store");
    let mut writer = StoreWriter::create(&path, &description(images)).unwrap();
    (0..images as u8).for_each(|number| writer.push(&[number; 6]).unwrap());
    writer.finish().unwrap();
    path
}

#[test]
fn images_are_read_back_in_any_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path(), 5);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.description(), &description(5));
    let stored = Stored::new(store, vec![4, 0, 4]).unwrap();
    assert_eq!(stored.values(), 18);
    let mut image = [0; 6];
    for (number, is) in [(0, 4), (1, 0), (2, 4)] {
        stored.read(number, &mut image).unwrap();
        assert_eq!(image, [is; 6]);
    }
    let error = Stored::new(Store::open(&path).unwrap(), vec![5]).unwrap_err().to_string();
    assert!(error.contains("5 images, and none of number 5"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn one_that_is_not_finished_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut writer = StoreWriter::create(&path, &description(2)).unwrap();
    writer.push(&[0; 6]).unwrap();
    assert!(writer.push(&[0; 5]).is_err());
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("1 images, not 2"), "{error}");
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none());
    assert!(StoreWriter::create(&path, &description(0)).is_err());
}

#[test]
fn what_was_cut_short_or_changed_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path(), 5);
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], word: &str| {
        fs::write(&path, bytes).unwrap();
        let error = Store::open(&path).and_then(Store::ready).unwrap_err().to_string();
        assert!(error.contains("store is damaged") && error.contains(word), "{error}");
        assert!(error.contains("kshot data prepare"), "{error}");
    };
    refused(&whole[..whole.len() - 1], "bytes long");
    refused(&whole[..20], "ends too early");
    refused(b"PNG", "ends too early");
    refused(&[b'x'; 200], "does not begin as a store does");
    let mut changed = whole.clone();
    changed[30] ^= 1;
    refused(&changed, "head");
    changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    refused(&changed, "checksums");

    // While it is open.
    fs::write(&path, &whole).unwrap();
    let stored = Stored::new(Store::open(&path).unwrap(), (0..5).collect()).unwrap();
    let images = whole.len() - 6 * SUM - 30;
    let mut changed = whole.clone();
    changed[images] ^= 1;
    fs::write(&path, &changed).unwrap();
    let mut image = [0; 6];
    stored.read(1, &mut image).unwrap();
    let error = stored.read(0, &mut image).unwrap_err().to_string();
    assert!(error.contains("image 0 is not as it was written"), "{error}");
    fs::File::options().write(true).open(&path).unwrap().set_len(images as u64 + 20).unwrap();
    let error = stored.read(4, &mut image).unwrap_err().to_string();
    assert!(error.contains("ends too early") && error.contains("store"), "{error}");
}

#[test]
fn a_head_that_claims_more_than_there_is_makes_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    for (images, shape) in [
        (u32::MAX, [1, 1, 1]),
        (1, [usize::MAX, usize::MAX, 1]),
        (u32::MAX, [1, 1 << 40, 1 << 20]),
        (1, [0, 1, 1]),
    ] {
        let described = serde_json::to_vec(&Description { images, shape, ..description(1) }).unwrap();
        let mut bytes =
            [&MAGIC[..], &VERSION.to_le_bytes(), &(described.len() as u32).to_le_bytes()].concat();
        bytes.extend(described);
        bytes.extend(hash(&bytes).to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
    }
    let claims = [&MAGIC[..], &VERSION.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    fs::write(&path, claims).unwrap();
    assert!(Store::open(&path).is_err());
}

proptest! {
    #[test]
    fn no_byte_of_a_head_makes_it_panic(at in 0usize..260, to: u8, cut in 0usize..300) {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), 2);
        let mut bytes = fs::read(&path).unwrap();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        bytes.truncate(cut);
        fs::write(&path, bytes).unwrap();
        let _ = Store::open(&path).and_then(|store| Stored::new(store, vec![0]));
    }
}
