//! The datasets that come with kshot, each registered under the name of its module.
//!
//! | name | what | files |
//! | --- | --- | --- |
//! | [`folder`] | your own images, one directory for each class | any PNG, JPEG, PGM |
//! | [`glyphs`] | invented handwritten characters, drawn as the dataset is opened | none |
//! | [`omniglot`] | 1,623 handwritten characters of 50 alphabets | two zips, 16 MB |
//! | [`sinusoid`] | regression tasks of the MAML paper | none |

mod area_average;
mod class_splits;
#[cfg(feature = "download")]
pub mod download;
pub mod folder;
pub mod glyphs;
pub mod omniglot;
pub mod sinusoid;
