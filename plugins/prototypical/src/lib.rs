//! prototypical
