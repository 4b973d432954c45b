//! kshot: episodic meta-learning.
//!
//! An **episode** is one within-task training (support) plus one within-task test (query). The engine samples
//! episodes from a [`dataset`], drives a [`learner::Learner`] with them, and compares learners on identical tasks.
//! `docs/architecture.md` in the repository is the map; the traits a plugin implements are [`learner::Learner`]
//! and, for a network of its own, [`nn::Network`].

pub mod atomic;
pub mod checkpoint;
pub mod dataset;
pub mod episode;
mod error;
pub mod eval;
pub mod inner_loop;
pub mod learner;
pub mod log;
pub mod nn;
pub mod optimizer;
mod parallel;
pub mod params;
pub mod registry;
pub mod rng;
pub mod schedule;
pub mod stats;
pub mod train;
pub mod verification;

pub use error::{Error, Result};
