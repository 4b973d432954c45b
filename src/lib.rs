//! kshot: episodic meta-learning.
//!
//! An **episode** is one within-task training (support) plus one within-task test (query). The engine samples
//! episodes from a [`dataset`], drives a [`learner::Learner`] with them, and compares learners on identical tasks.
//! `docs/architecture.md` in the repository is the map; [`learner`] is the first page for who writes a plugin.

#![forbid(unsafe_code)]

pub mod atomic;
pub mod augment;
pub mod backbone;
pub mod checkpoint;
pub mod conformance;
pub mod dataset;
pub mod embedding;
pub mod episode;
pub mod eval;
pub mod file;
pub mod inner_loop;
pub mod learner;
pub mod log;
pub mod metric;
mod named;
pub mod open_set;
pub mod optimizer;
pub mod options;
pub mod picture;
pub mod ranks;
pub mod registry;
pub mod schedule;
pub mod stats;
pub mod train;
pub mod verification;

/// Networks and their derivatives: the ground floor, a crate of its own.
pub use kshot_nn as nn;
pub use kshot_nn::{Error, Result, params, rng};

#[doc(hidden)]
pub use inventory;
