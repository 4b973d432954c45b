//! The benchmarks of the few-shot literature, read from the archives as they are published, their classes divided as papers
//! divide them.
//!
//! | name | what | files, in the data directory |
//! | --- | --- | --- |
//! | [`photos`] (`mini-imagenet`, `tiered-imagenet`, `tiny-imagenet`, `cub`) | photographs, a directory for each class | directories, zip or tar |
//! | [`cifar`] (`cifar-fs`, `fc100`) | the 60,000 images of CIFAR-100 | `cifar-100/cifar-100-binary.tar.gz` |
//! | [`mnist`] | 70,000 handwritten digits | `mnist/*-ubyte.gz` |
//! | [`quickdraw`] | drawings of 345 categories | `quickdraw/CATEGORY.npy` |
//!
//! The lists of classes, with their sources, are in `splits/`.

pub mod mnist;
mod pixels;
pub mod quickdraw;

pub use pixels::PixelOptions;
