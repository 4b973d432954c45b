//! The forward pass, in training and in evaluation.

use ndarray::{Array2, ArrayView4};
use rayon::prelude::*;

use super::super::arena::Buffer;
use super::super::conv::{Convolution, Products};
use super::super::groups::at_once;
use super::super::image::Image;
use super::super::norm;
use super::super::statistics::Normed;
use super::super::tail::Values;
use super::Tree;
use super::join::{self, Join, Joined};
use super::plan::{Affine, ConvStep, JoinStep, Step};
use super::view::{self, Look};
use crate::architecture::Norm;

/// What the training forward pass keeps.
pub(crate) struct Saved {
    pub(super) count: usize,
    /// Whose statistics batch norms used.
    pub(super) statistics: Norm,
    /// What names the noise of drop layers, where they are active.
    pub(super) noise: Option<u64>,
    /// All images that were written.
    pub(super) raws: Vec<Buffer>,
    /// For each view, what it adds or normalises by; none where it reads images as they are.
    pub(super) norms: Vec<Option<Normed>>,
    pub(super) tail: Values,
}

/// Images of a view, from the first of them on.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) look: Look<'a>,
    pub(super) y: &'a [f32],
    /// Whether the view is the images.
    pub(super) is_raw: bool,
}

impl<'a> Reading<'a> {
    /// Raw image `index`.
    pub(super) fn image(&self, index: usize) -> &'a [f32] {
        let len = self.look.image.len();
        &self.y[index * len..][..len]
    }

    fn joined(&self, index: usize) -> Joined<'a> {
        Joined { y: self.image(index), affine: self.look.affine, slope: self.look.slope }
    }
}

/// Calls `with` with a join of image `index` of each view.
pub(super) fn with_join<T>(
    step: &JoinStep,
    readings: &[Reading<'_>],
    index: usize,
    with: impl FnOnce(Join<'_>) -> T,
) -> T {
    let of = |joined: &[Joined<'_>]| with(Join { windows: &step.windows, slope: step.slope, joined });
    match readings {
        [a, b] => of(&[a.joined(index), b.joined(index)]),
        _ => of(&[readings[0].joined(index)]),
    }
}

impl JoinStep {
    /// Drops from image `index` that was joined, or from its change or gradient, if noise is wanted.
    pub(super) fn drop(&self, noise: Option<u64>, index: usize, z: &mut [f32]) {
        if let (Some(drop), Some(seed)) = (&self.drop, noise) {
            drop.apply(seed, index, [1, self.windows.output.channels], z);
        }
    }
}

impl Tree {
    /// What `view` does to channels, if it is not what a batch's statistics decide.
    fn known_norm(&self, theta: &[f32], view: usize, statistics: Norm) -> Option<Normed> {
        let channels = self.plan.raws[self.plan.views[view].raw].channels;
        match &self.plan.views[view].affine {
            Affine::Bias(bias) => Some(Normed::shifted(&theta[bias.clone()], channels)),
            Affine::Norm { norm, bias } if statistics == Norm::Running => {
                Some(Normed::running(theta, norm, bias.as_ref().map(|bias| &theta[bias.clone()]), channels))
            }
            _ => None,
        }
    }

    /// How `view` reads images `y`.
    pub(super) fn reading<'a>(
        &'a self,
        view: usize,
        y: &'a [f32],
        norms: &'a [Option<Normed>],
    ) -> Reading<'a> {
        let of = &self.plan.views[view];
        let image = self.plan.raws[of.raw];
        let affine = norms[view].as_ref().map_or_else(|| self.identity(image.channels), Normed::affine);
        Reading { look: Look { image, affine, slope: of.slope }, y, is_raw: of.is_raw() }
    }

    /// `count` images from `start` on as they are read: those written, or made in `scratch`.
    pub(super) fn read<'a>(
        &self,
        reading: &Reading<'a>,
        start: usize,
        count: usize,
        scratch: &'a mut [f32],
    ) -> &'a [f32] {
        let len = reading.look.image.len();
        let y = &reading.y[start * len..][..count * len];
        if reading.is_raw {
            return y;
        }
        for (y, z) in y.chunks_exact(len).zip(scratch.chunks_exact_mut(len)) {
            view::activate(self.isa, reading.look, y, z);
        }
        &scratch[..count * len]
    }

    /// The batch `x`, `[n, c, h, w]`, from image `start` on, as images.
    fn inputs(&self, x: &[f32], start: usize, images: &mut [f32]) {
        let (image, channels) = (self.plan.raws[0], self.input[0]);
        let pixels = image.pixels();
        for (i, z) in images.chunks_exact_mut(image.len()).enumerate() {
            let x = &x[(start + i) * channels * pixels..][..channels * pixels];
            z.fill(0.0);
            for (channel, x) in x.chunks_exact(pixels).enumerate() {
                for (x, z) in x.iter().zip(z[channel..].iter_mut().step_by(image.channels)) {
                    *z = *x;
                }
            }
        }
    }

    /// The transpose of [`Self::inputs`]: images as `[n, c, h, w]`.
    pub(super) fn batch(&self, images: &[f32]) -> Vec<f32> {
        let (image, channels) = (self.plan.raws[0], self.input[0]);
        let of = |z: &[f32]| {
            let channel = |channel| z[channel..].iter().step_by(image.channels).take(image.pixels()).copied();
            (0..channels).flat_map(channel).collect::<Vec<f32>>()
        };
        images.chunks_exact(image.len()).flat_map(of).collect()
    }

    /// Convolves images of a view, from `start` on, to `y`.
    fn convolve(&self, step: &ConvStep, filters: &[f32], from: &Reading<'_>, start: usize, y: &mut [f32]) {
        let convolution = &step.convolution;
        let (input, output) = (convolution.input, convolution.output);
        let chunk = convolution.chunk(y.len() / output.len());
        let mut z = self.arena.take(if from.is_raw { 0 } else { chunk * input.len() });
        let mut lowered = self.arena.take(convolution.lowered_len(chunk));
        let mut products = self.arena.take(convolution.raised_len(chunk));
        for (part, y) in y.chunks_mut(chunk * output.len()).enumerate() {
            let count = y.len() / output.len();
            let z = self.read(from, start + part * chunk, count, &mut z);
            convolve_one(convolution, count, [z, filters], [&mut lowered, &mut products], y);
        }
    }

    /// One step over images from `start` on, to `y`.
    fn step(
        &self,
        (step, noise): (&Step, Option<u64>),
        filters: &[f32],
        readings: &[Reading<'_>],
        start: usize,
        y: &mut [f32],
    ) {
        match step {
            Step::Conv(conv) => self.convolve(conv, filters, &readings[0], start, y),
            Step::Join(of) => {
                for (i, z) in y.chunks_exact_mut(of.windows.output.len()).enumerate() {
                    with_join(of, readings, start + i, |joined| join::join(self.isa, joined, z));
                    of.drop(noise, start + i, z);
                }
            }
        }
    }

    /// The filters of a step, if it has any.
    pub(super) fn filters(&self, step: &Step, theta: &[f32]) -> Buffer {
        match step {
            Step::Conv(conv) => conv.convolution.filters(&self.arena, &theta[conv.weight.clone()]),
            Step::Join(_) => self.arena.take(0),
        }
    }

    /// Where a step writes.
    pub(super) fn target(step: &Step) -> usize {
        match step {
            Step::Conv(conv) => conv.to,
            Step::Join(join) => join.to,
        }
    }

    /// A pass that keeps what derivatives need.
    pub(in super::super) fn run_forward(
        &self,
        theta: &[f32],
        x: ArrayView4<'_, f32>,
        statistics: Norm,
        noise: Option<u64>,
    ) -> (Array2<f32>, Saved) {
        let (count, x) = (x.dim().0, x.as_standard_layout());
        let x = x.as_slice().unwrap_or_default();
        let group = at_once(count);
        let plan = &self.plan;
        let mut norms: Vec<_> =
            (0..plan.views.len()).map(|view| self.known_norm(theta, view, statistics)).collect();
        let mut raws: Vec<Buffer> = Vec::with_capacity(plan.raws.len());
        for (raw, &image) in plan.raws.iter().enumerate() {
            let step = raw.checked_sub(1).map(|step| &plan.steps[step]);
            let filters = step.map(|step| self.filters(step, theta));
            let from = step.map_or(&[][..], Step::from);
            let readings: Vec<Reading<'_>> =
                from.iter().map(|&view| self.reading(view, &raws[plan.views[view].raw], &norms)).collect();
            let normed = statistics == Norm::Batch && plan.is_normed(raw);
            let wanted = if normed { 2 * image.channels } else { 0 };
            let group = match step {
                Some(Step::Conv(conv)) => conv.convolution.group(count),
                _ => group,
            };
            let mut images = self.arena.take(count * image.len());
            let mut sums = self.arena.take(count * wanted);
            images
                .par_chunks_mut(group * image.len())
                .zip(parts(&mut sums, group * wanted))
                .enumerate()
                .for_each(|(index, (images, sums))| {
                    let start = index * group;
                    match step {
                        None => self.inputs(x, start, images),
                        Some(step) => {
                            let filters = filters.as_deref().unwrap_or_default();
                            self.step((step, noise), filters, &readings, start, images);
                        }
                    }
                    for (y, sums) in
                        images.chunks_exact(image.len()).zip(sums.chunks_exact_mut(wanted.max(1)))
                    {
                        let (means, squares) = sums.split_at_mut(image.channels);
                        norm::statistics(self.isa, image, y, means, squares);
                    }
                });
            drop(readings);
            if wanted > 0 {
                let (mean, variance) = norm::combine(image, count, &sums);
                for view in plan.views_of(raw) {
                    if let Affine::Norm { norm, .. } = &plan.views[view].affine {
                        norms[view] = Some(Normed::new(theta, norm, &mean, variance.clone()));
                    }
                }
            }
            raws.push(images);
        }
        let end = self.reading(plan.end, &raws[plan.views[plan.end].raw], &norms);
        let matrix = self.matrix(count, at_once(count), |start, rows| self.rows(&end, start, rows));
        let tail = self.tail.forward(theta, (count, noise), &matrix);
        (self.tail.output(&tail), Saved { count, statistics, noise, raws, norms, tail })
    }

    /// The matrix of `count` images, `[n, features]`: `rows` computes the rows of a `group`, given its first image.
    pub(super) fn matrix(
        &self,
        count: usize,
        group: usize,
        rows: impl Fn(usize, &mut [f32]) + Send + Sync,
    ) -> Buffer {
        let features = self.plan.joint.features();
        let mut matrix = self.arena.take(count * features);
        matrix
            .par_chunks_mut(group * features)
            .enumerate()
            .for_each(|(index, part)| rows(index * group, part));
        matrix
    }

    /// The rows that images of a view, from `start` on, become.
    fn rows(&self, end: &Reading<'_>, start: usize, rows: &mut [f32]) {
        self.plan
            .joint
            .join(&self.arena, rows, |i, z| view::activate(self.isa, end.look, end.image(start + i), z));
    }

    /// Images of `count` that run through all steps together. Each has the same outputs in whatever company, so this may
    /// look at the threads: as many as wide filters are worth reading for, if that leaves each thread its share.
    fn evaluated_at_once(&self, count: usize) -> usize {
        let worthwhile = self.plan.steps.iter().map(|step| match step {
            Step::Conv(conv) => conv.convolution.worthwhile(),
            Step::Join(_) => 1,
        });
        let share = count.div_ceil(rayon::current_num_threads());
        worthwhile.max().unwrap_or(1).min(share).max(at_once(count))
    }

    /// Evaluation on running statistics: nothing joins the images, so each group runs through all steps at once.
    pub(super) fn evaluate_running(&self, theta: &[f32], x: ArrayView4<'_, f32>) -> Array2<f32> {
        let (count, x) = (x.dim().0, x.as_standard_layout());
        let x = x.as_slice().unwrap_or_default();
        let plan = &self.plan;
        let norms: Vec<_> =
            (0..plan.views.len()).map(|view| self.known_norm(theta, view, Norm::Running)).collect();
        let filters: Vec<Buffer> = plan.steps.iter().map(|step| self.filters(step, theta)).collect();
        let matrix = self.matrix(count, self.evaluated_at_once(count), |start, rows| {
            let count = rows.len() / plan.joint.features();
            let mut raws: Vec<Buffer> = plan.raws.iter().map(|_| self.arena.take(0)).collect();
            raws[0] = self.arena.take(count * plan.raws[0].len());
            self.inputs(x, start, &mut raws[0]);
            for (index, step) in plan.steps.iter().enumerate() {
                let to = Self::target(step);
                let mut images = self.arena.take(count * plan.raws[to].len());
                let readings = step.from().iter();
                let readings: Vec<Reading<'_>> =
                    readings.map(|&view| self.reading(view, &raws[plan.views[view].raw], &norms)).collect();
                self.step((step, None), &filters[index], &readings, 0, &mut images);
                drop(readings);
                raws[to] = images;
                for raw in (0..to).filter(|&raw| plan.last_reader[raw] == index) {
                    raws[raw] = self.arena.take(0);
                }
            }
            let end = self.reading(plan.end, &raws[plan.views[plan.end].raw], &norms);
            self.rows(&end, 0, rows);
        });
        self.tail.output(&self.tail.forward(theta, (count, None), &matrix))
    }

    /// Ones and zeros, for images that are read as they are.
    pub(super) fn identity(&self, channels: usize) -> super::super::window::Affine<'_> {
        super::super::window::Affine { scale: &self.ones[..channels], shift: &self.zeros[..channels] }
    }
}

/// `count` images convolved, with scratch for them lowered and before they are raised.
fn convolve_one(
    convolution: &Convolution,
    count: usize,
    [z, filters]: [&[f32]; 2],
    [lowered, products]: [&mut [f32]; 2],
    y: &mut [f32],
) {
    let lowered = convolution.lower(count, z, lowered);
    convolution.convolve(
        count,
        lowered,
        filters,
        Products { planes: products, result: y, accumulate: false },
    );
    convolution.raise(count, products, y);
    // The next convolution may read the image as it is.
    convolution.output.clear_spare(y);
}

/// Parts of `length` each; of an empty buffer as many empty ones as anyone asks for.
pub(super) fn parts(buffer: &mut [f32], length: usize) -> rayon::vec::IntoIter<&mut [f32]> {
    const MOST: usize = 64;
    let parts: Vec<&mut [f32]> = match length {
        0 => std::iter::repeat_with(<&mut [f32]>::default).take(MOST).collect(),
        _ => buffer.chunks_mut(length).collect(),
    };
    parts.into_par_iter()
}

/// Images in a buffer: `count` of them from `start` on.
pub(super) fn images_of(image: Image, buffer: &[f32], start: usize, count: usize) -> &[f32] {
    &buffer[start * image.len()..][..count * image.len()]
}
