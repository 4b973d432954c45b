//! A tree of layers as the steps that compute it.
//!
//! Only convolutions and joins (sums and pooling) write images to memory. Batch norm and activation are done as the next
//! step reads what they are of: a *view* of such an image is `act(scale·y + shift)`. So of every convolution one image is
//! kept, its outputs, and all that follows is computed again where it is needed.

use std::ops::Range;

use super::super::conv::Convolution;
use super::super::image::Image;
use super::super::joint::ImagesToRows;
use super::super::simd::Isa;
use super::join::Windows;
use crate::architecture::{BatchNorm, DropBlock, Layer, Pool, Residual};

/// What is done to images as they are read, but for the activation.
#[derive(Clone, PartialEq)]
pub(super) enum Affine {
    /// Nothing.
    Identity,
    /// The bias of a convolution, added.
    Bias(Range<usize>),
    /// Batch norm of a convolution's outputs with their bias, if it has one.
    Norm { norm: BatchNorm, bias: Option<Range<usize>> },
}

/// Images as they are read.
#[derive(Clone, PartialEq)]
pub(super) struct View {
    /// Which images.
    pub(super) raw: usize,
    pub(super) affine: Affine,
    /// Of the activation where its argument is not positive; 1 for none.
    pub(super) slope: f32,
}

impl View {
    /// Whether images are read as they are.
    pub(super) fn is_raw(&self) -> bool {
        self.affine == Affine::Identity && self.slope == 1.0
    }
}

/// A convolution of a view.
pub(super) struct ConvStep {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) weight: Range<usize>,
    pub(super) convolution: Convolution,
}

/// The sum of one or two views, activated, then pooled; in training, part of it dropped.
pub(super) struct JoinStep {
    pub(super) from: Vec<usize>,
    pub(super) to: usize,
    pub(super) slope: f32,
    pub(super) windows: Windows,
    pub(super) drop: Option<DropBlock>,
}

pub(super) enum Step {
    Conv(ConvStep),
    Join(JoinStep),
}

impl Step {
    /// The views that it reads.
    pub(super) fn from(&self) -> &[usize] {
        match self {
            Self::Conv(conv) => std::slice::from_ref(&conv.from),
            Self::Join(join) => &join.from,
        }
    }
}

/// The steps of a tree, in order.
pub(super) struct Plan {
    /// The images that are written; the first are the inputs.
    pub(super) raws: Vec<Image>,
    pub(super) views: Vec<View>,
    pub(super) steps: Vec<Step>,
    /// The view that becomes the rows of a matrix.
    pub(super) end: usize,
    pub(super) joint: ImagesToRows,
    /// For each view, the first step that reads it: none, if nobody does; one behind the last for the end.
    pub(super) first_reader: Vec<Option<usize>>,
    /// For each raw image, the last step that reads a view of it.
    pub(super) last_reader: Vec<usize>,
}

/// A sum of views that is not written yet, with what is to be done to it.
struct Pending {
    views: Vec<usize>,
    slope: f32,
    pool: Option<Pool>,
    drop: Option<DropBlock>,
}

impl Pending {
    fn of(view: usize) -> Self {
        Self { views: vec![view], slope: 1.0, pool: None, drop: None }
    }
}

struct Planner {
    isa: Isa,
    raws: Vec<Image>,
    views: Vec<View>,
    steps: Vec<Step>,
}

impl Plan {
    /// The steps of `layers` up to the one that makes a matrix of images, and the layers after it. None where a layer of
    /// matrices comes before.
    pub(super) fn new(isa: Isa, input: [usize; 3], layers: &[Layer]) -> Option<(Self, &[Layer])> {
        let at =
            layers.iter().position(|layer| matches!(layer, Layer::Flatten(_) | Layer::SpatialMean(_)))?;
        let joint = ImagesToRows::of(&layers[at])?;
        let view = View { raw: 0, affine: Affine::Identity, slope: 1.0 };
        let mut planner =
            Planner { isa, raws: vec![Image::new(input)], views: vec![view], steps: Vec::new() };
        let pending = planner.layers(&layers[..at], Pending::of(0))?;
        let end = planner.write(pending);
        let Planner { raws, views, steps, .. } = planner;
        let mut first_reader = vec![None; views.len()];
        let mut last_reader = vec![0; raws.len()];
        let reads = steps.iter().map(Step::from).chain([std::slice::from_ref(&end)]).enumerate();
        for (step, view) in reads.flat_map(|(step, views)| views.iter().map(move |&view| (step, view))) {
            first_reader[view].get_or_insert(step);
            last_reader[views[view].raw] = step;
        }
        Some((Self { raws, views, steps, end, joint, first_reader, last_reader }, &layers[at + 1..]))
    }

    /// The views of `raw` that are read.
    pub(super) fn views_of(&self, raw: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.views.len())
            .filter(move |&view| self.views[view].raw == raw && self.first_reader[view].is_some())
    }

    /// Whether a batch norm reads `raw`.
    pub(super) fn is_normed(&self, raw: usize) -> bool {
        self.views_of(raw).any(|view| matches!(self.views[view].affine, Affine::Norm { .. }))
    }
}

impl Planner {
    fn view(&mut self, view: View) -> usize {
        self.views.iter().position(|other| *other == view).unwrap_or_else(|| {
            self.views.push(view);
            self.views.len() - 1
        })
    }

    fn raw(&mut self, image: Image) -> usize {
        self.raws.push(image);
        self.raws.len() - 1
    }

    /// Writes what is pending, unless it is a view.
    fn write(&mut self, pending: Pending) -> usize {
        let Pending { views, slope, pool, drop } = pending;
        if let ([view], true, None, None) = (views.as_slice(), slope == 1.0, pool, drop) {
            return *view;
        }
        let input = self.raws[self.views[views[0]].raw];
        let windows = Windows::new(input, pool);
        let to = self.raw(windows.output);
        self.steps.push(Step::Join(JoinStep { from: views, to, slope, windows, drop }));
        self.view(View { raw: to, affine: Affine::Identity, slope: 1.0 })
    }

    fn layers(&mut self, layers: &[Layer], start: Pending) -> Option<Pending> {
        layers.iter().try_fold(start, |pending, layer| self.layer(layer, pending))
    }

    fn layer(&mut self, layer: &Layer, mut pending: Pending) -> Option<Pending> {
        Some(match layer {
            Layer::Conv(conv) => {
                let from = self.write(pending);
                let convolution = Convolution::new(self.isa, conv);
                let to = self.raw(convolution.output);
                self.steps.push(Step::Conv(ConvStep { from, to, weight: conv.weight.clone(), convolution }));
                let affine = conv.bias.clone().map_or(Affine::Identity, Affine::Bias);
                Pending::of(self.view(View { raw: to, affine, slope: 1.0 }))
            }
            Layer::Norm(norm) => {
                let mut view = self.write(pending);
                if self.views[view].slope != 1.0 || matches!(self.views[view].affine, Affine::Norm { .. }) {
                    // Of what a view makes of an image there are no statistics before it is written.
                    let image = self.raws[self.views[view].raw];
                    let (windows, to) = (Windows::new(image, None), self.raw(image));
                    let copy = JoinStep { from: vec![view], to, slope: 1.0, windows, drop: None };
                    self.steps.push(Step::Join(copy));
                    view = self.view(View { raw: to, affine: Affine::Identity, slope: 1.0 });
                }
                let bias = match &self.views[view].affine {
                    Affine::Bias(bias) => Some(bias.clone()),
                    _ => None,
                };
                let affine = Affine::Norm { norm: norm.clone(), bias };
                Pending::of(self.view(View { raw: self.views[view].raw, affine, slope: 1.0 }))
            }
            &Layer::Relu { slope } => match pending.views.as_slice() {
                &[view]
                    if pending.pool.is_none() && pending.slope == 1.0 && self.views[view].slope == 1.0 =>
                {
                    let view = View { slope, ..self.views[view].clone() };
                    Pending::of(self.view(view))
                }
                _ => {
                    if pending.pool.is_some() || pending.slope != 1.0 || pending.views.len() == 1 {
                        pending = Pending::of(self.write(pending));
                    }
                    Pending { slope, ..pending }
                }
            },
            &Layer::Pool(pool) => {
                if pending.pool.is_some() {
                    pending = Pending::of(self.write(pending));
                }
                Pending { pool: Some(pool), ..pending }
            }
            &Layer::Drop(drop) => Pending::of(self.write(Pending { drop: Some(drop), ..pending })),
            Layer::Residual(Residual { main, shortcut }) => {
                let from = self.write(pending);
                let main = self.layers(main, Pending::of(from))?;
                let main = self.write(main);
                let shortcut = self.layers(shortcut, Pending::of(from))?;
                Pending { views: vec![main, self.write(shortcut)], ..Pending::of(from) }
            }
            Layer::SpatialMean(_) | Layer::Flatten(_) | Layer::Linear(_) => return None,
        })
    }
}
