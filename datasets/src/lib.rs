//! The datasets that come with kshot, each registered under the name of its module.
//!
//! | name | what | files |
//! | --- | --- | --- |
//! | [`glyphs`] | invented handwritten characters, drawn as the dataset is opened | none |
//! | [`sinusoid`] | regression tasks of the MAML paper | none |

mod class_splits;
pub mod glyphs;
pub mod sinusoid;
