//! The report's figures, one idea a file.

pub(super) mod calibration;
pub(super) mod classes;
pub(super) mod cost;
pub(super) mod embedding;
pub(super) mod episodes;
pub(super) mod learning;
pub(super) mod ranks;
pub(super) mod results;
pub(super) mod searches;
pub(super) mod settings;
pub(super) mod tasks;
