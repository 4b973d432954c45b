//! Files of TensorBoard's embedding projector: `tensors.tsv`, `metadata.tsv`, `sprite.png`, and `projector_config.pbtxt`,
//! which says where they are.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ndarray::{ArrayView2, ArrayView4, Axis};

use crate::picture::{Picture, Range, Thumbnail, WHITE};
use crate::{Error, Result, atomic};

/// The directory that the tables and pictures are in, beside the configuration.
const DIRECTORY: &str = "projector";
/// Pixels of an example in the sprite, a side, at most.
const SIDE: usize = 48;
/// Pixels of a sprite, a side, at most: what browsers can show.
const SPRITE: usize = 8192;
const DOING: &str = "writing the projector's";

/// Embeddings to look at, with what is known of each.
pub struct Projected<'a> {
    /// Its name in the projector: letters, digits, `-` and `_`.
    pub name: &'a str,
    /// Embeddings, `[n, features]`.
    pub z: ArrayView2<'a, f32>,
    /// What is known of each, by name: class, prediction … Of as many values as there are embeddings; at least one.
    pub columns: &'a [(&'a str, Vec<String>)],
    /// The examples, `[n, channels, height, width]`, to be shown as points.
    pub examples: ArrayView4<'a, f32>,
}

/// Writes all there is for the projector in `directory`; a former configuration there is replaced.
///
/// # Errors
/// When a file cannot be written, a name is refused, the lengths differ, or an embedding is not finite.
pub fn write(directory: &Path, all: &[Projected<'_>]) -> Result<()> {
    let mut configuration = String::new();
    for projected in all {
        projected.check()?;
        let name = projected.name;
        let place = directory.join(DIRECTORY).join(name);
        fs::create_dir_all(&place).map_err(|error| Error::io("creating", &place, error))?;
        let file =
            |file: &str, bytes: &[u8]| atomic::write(&place.join(file), bytes, &format!("{DOING} {file}"));
        file("tensors.tsv", projected.tensors().as_bytes())?;
        file("metadata.tsv", projected.metadata().as_bytes())?;
        let (sprite, [width, height]) = projected.sprite();
        file("sprite.png", &sprite.png()?)?;
        let (rows, features) = projected.z.dim();
        configuration += &format!(
            "embeddings {{\n  tensor_name: \"{name}\"\n  tensor_shape: {rows}\n  tensor_shape: {features}\n  tensor_path: \
             \"{DIRECTORY}/{name}/tensors.tsv\"\n  metadata_path: \"{DIRECTORY}/{name}/metadata.tsv\"\n  sprite {{\n    \
             image_path: \"{DIRECTORY}/{name}/sprite.png\"\n    single_image_dim: {width}\n    single_image_dim: {height}\n  \
             }}\n}}\n"
        );
    }
    // Last, so that what it names is there.
    atomic::write(
        &directory.join("projector_config.pbtxt"),
        configuration.as_bytes(),
        "configuring the projector",
    )
}

impl Projected<'_> {
    fn check(&self) -> Result<()> {
        let name = self.name;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(Error::invalid(format!(
                "`{name}` cannot name embeddings: write letters, digits, `-` and `_`"
            )));
        }
        let rows = self.z.nrows();
        let fits = self.columns.iter().all(|(_, values)| values.len() == rows);
        if rows == 0 || self.columns.is_empty() || !fits || self.examples.len_of(Axis(0)) != rows {
            return Err(Error::invalid(format!(
                "`{name}` has {rows} embeddings, and must have at least one, as many examples, and columns as long"
            )));
        }
        match self.z.iter().all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err(Error::NotFinite(format!("an embedding of `{name}` is not finite"))),
        }
    }

    /// A row an embedding.
    fn tensors(&self) -> String {
        let mut text = String::new();
        for row in self.z.outer_iter() {
            for (feature, value) in row.iter().enumerate() {
                let tab = if feature > 0 { "\t" } else { "" };
                // Into a string, which takes all.
                let _ = write!(text, "{tab}{value}");
            }
            text.push('\n');
        }
        text
    }

    /// A row an embedding, below the names of the columns; of one column the projector expects no name.
    fn metadata(&self) -> String {
        let row = |values: Vec<&str>| {
            let plain = |value: &str| value.replace(|c: char| c.is_control(), " ");
            values.into_iter().map(plain).collect::<Vec<_>>().join("\t") + "\n"
        };
        let names = row(self.columns.iter().map(|(name, _)| *name).collect());
        let rows = (0..self.z.nrows())
            .map(|at| row(self.columns.iter().map(|(_, values)| values[at].as_str()).collect()));
        let rows = rows.collect::<String>();
        if self.columns.len() > 1 { names + &rows } else { rows }
    }

    /// The examples row by row in a square, and the size of one.
    fn sprite(&self) -> (Picture, [usize; 2]) {
        let (count, channels, height, width) = self.examples.dim();
        let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(1);
        let thumbnail = Thumbnail::new([channels, height, width], SIDE.min(SPRITE / columns));
        let [across, down] = thumbnail.size();
        let mut sprite = Picture::filled(columns * across, columns * down, WHITE);
        let range = Range::of([self.examples]);
        for (at, example) in self.examples.outer_iter().enumerate() {
            sprite.put([at % columns * across, at / columns * down], &thumbnail.draw(example, range));
        }
        (sprite, [across, down])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, array};

    use super::*;

    #[test]
    fn the_files_say_the_same_of_the_same_examples() {
        let directory = tempfile::tempdir().unwrap();
        let z = array![[1.0, -0.5], [2.0, 1e-7], [3.0, 1e10]];
        let examples = Array4::from_shape_fn((3, 1, 2, 2), |(n, ..)| n as f32);
        let names = || vec!["a\tb".to_owned(), "b\n".to_owned(), "ç".to_owned()];
        let columns = [("class", names()), ("side", vec!["query".to_owned(); 3])];
        let mut projected =
            Projected { name: "test", z: z.view(), columns: &columns, examples: examples.view() };
        write(directory.path(), std::slice::from_ref(&projected)).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let tensors: Vec<f32> = read("projector/test/tensors.tsv")
            .split_whitespace()
            .map(|value| value.parse().unwrap())
            .collect();
        assert_eq!(tensors, z.iter().copied().collect::<Vec<f32>>());
        assert_eq!(read("projector/test/metadata.tsv"), "class\tside\na b\tquery\nb \tquery\nç\tquery\n");
        assert!(read("projector_config.pbtxt").contains("tensor_shape: 3\n  tensor_shape: 2\n"));
        let (sprite, size) = projected.sprite();
        assert_eq!((sprite.size(), size), ([96, 96], [48, 48]));
        assert_eq!((sprite.pixel(0, 0)[0], sprite.pixel(48, 0)[0], sprite.pixel(0, 48)[0]), (0, 128, 255));
        let one = [("class", names())];
        projected.columns = &one;
        assert_eq!(projected.metadata(), "a b\nb \nç\n");
        let short = [("class", vec!["a".to_owned()])];
        projected.columns = &short;
        assert!(write(directory.path(), std::slice::from_ref(&projected)).is_err());
        projected = Projected { name: "../up", columns: &one, ..projected };
        assert!(write(directory.path(), &[projected]).unwrap_err().to_string().contains("`../up`"));
    }
}
