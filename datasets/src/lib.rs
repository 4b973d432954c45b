//! The datasets that come with kshot, each registered under the name of its module.
//!
//! | name | what | files |
//! | --- | --- | --- |
//! | [`glyphs`] | invented handwritten characters, drawn as the dataset is opened | none |
//! | [`omniglot`] | 1,623 handwritten characters of 50 alphabets | two zips, 15 MB |
//! | [`sinusoid`] | regression tasks of the MAML paper | none |

mod area_average;
mod class_splits;
pub mod glyphs;
pub mod omniglot;
pub mod sinusoid;
