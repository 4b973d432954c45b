//! End-to-end: the real program on small real jobs, what it prints and writes, and how it refuses.

// A test fails by panicking, its helpers too.
#![allow(clippy::unwrap_used)]

// Linking the program registers its learners here too.
use kshot_cli as _;

mod augment;
mod bad_input;
mod bench;
mod cases;
mod data_get;
mod domains;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../oracle/fixture.rs"]
mod fixture;
mod honest;
mod hostile;
mod init;
mod kshot;
mod omniglot;
mod perf;
mod predict;
mod report;
mod runs;
mod sampling;
mod schema;
mod search;
mod stores;
mod suite;
mod verification;
