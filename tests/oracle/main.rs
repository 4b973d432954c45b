//! Oracle tests: values that PyTorch and SciPy computed in float64, from `KSHOT_FIXTURES` (default `../shared/fixtures`).

// A test fails by panicking, its helpers too.
#![allow(clippy::unwrap_used)]

mod conv4;
mod episode;
mod fixture;
mod heads;
mod inner_loop;
mod metric;
mod tca;
