//! Oracle tests: values that PyTorch and SciPy computed in float64, from `KSHOT_FIXTURES` (default `../shared/fixtures`).

mod conv4;
mod fixture;
mod inner_loop;
