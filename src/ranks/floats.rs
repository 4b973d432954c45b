//! Numbers that are sent as one piece of bytes, which is several times as fast as one by one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// Numbers for another rank.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Floats(pub Vec<f32>);

impl Serialize for Floats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = vec![0; 4 * self.0.len()];
        let (places, _) = bytes.as_chunks_mut::<4>();
        places.iter_mut().zip(&self.0).for_each(|(place, value)| *place = value.to_le_bytes());
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Floats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Floats;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("four bytes for each number")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Floats, E> {
                match bytes.as_chunks::<4>() {
                    (values, []) => Ok(Floats(values.iter().copied().map(f32::from_le_bytes).collect())),
                    (_, rest) => Err(E::invalid_length(rest.len(), &self)),
                }
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
