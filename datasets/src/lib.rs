//! The datasets that come with kshot, each registered under the name of its module.
//!
//! | name | what | files |
//! | --- | --- | --- |
//! | [`arrays`] | your own features or signals, with labels and perhaps domains | npy, npz, mat, CSV |
//! | [`bearing`] | a simulated bearing, 7 states at 4 loads | none |
//! | [`benchmarks`] (`mini-imagenet`, `cifar-fs`, `mnist` …) | the benchmarks of the few-shot literature, by name | as published |
//! | [`cwru`] | bearing faults at 4 motor loads | 36 records |
//! | [`digits`] (`digits-da`) | MNIST and USPS digits | 4 arrays |
//! | [`folder`] | your own images, one directory for each class | any PNG, JPEG, WebP, TIFF, BMP, PGM; a zip, tar or list of them |
//! | [`glyphs`] | invented handwritten characters, drawn as the dataset is opened | none |
//! | [`office_caltech`] (`office-caltech10-surf`) | 10 kinds of objects in 4 domains | 4 `.mat` |
//! | [`omniglot`] | 1,623 handwritten characters of 50 alphabets | two zips, 16 MB |
//! | [`sinusoid`] | regression tasks of the MAML paper | none |
//! | [`tep`] | a chemical plant with 21 faults | 44 runs |

#![forbid(unsafe_code)]
// What is read may be anything: no place of a file's content is reached without a look whether it is there.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod archive;
mod area_average;
pub mod arrays;
#[expect(clippy::indexing_slicing, reason = "its own simulation")]
pub mod bearing;
pub mod benchmarks;
mod class_division;
mod class_splits;
pub mod cwru;
mod digest;
pub mod digits;
mod domain_splits;
#[cfg(feature = "download")]
pub mod download;
pub mod encoded;
pub mod folder;
#[expect(clippy::indexing_slicing, reason = "its own drawings")]
pub mod glyphs;
mod groups;
pub mod images;
mod joined;
mod memory;
pub mod office_caltech;
pub mod omniglot;
mod place;
pub mod signals;
#[expect(clippy::indexing_slicing, reason = "its own functions")]
pub mod sinusoid;
mod stamp;
pub mod stores;
pub mod tep;

pub use joined::joined;
