//! The sum of one or two views, activated, then pooled: forward, its change, and the way back.

use std::ops::Range;

use super::super::image::Image;
use super::super::simd::{Simd, dispatch};
use super::super::window::Affine;
use super::view::{activated, slope_of};
use crate::architecture::{Pool, Reduction};

/// The windows of an image that are pooled; of one pixel each where there is no pooling.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    pub(super) input: Image,
    pub(super) output: Image,
    pool: Option<Pool>,
}

impl Windows {
    pub(super) fn new(input: Image, pool: Option<Pool>) -> Self {
        let output = pool.map_or(input, |pool| Image {
            height: pool.output[1],
            width: pool.output[2],
            channels: input.channels,
        });
        Self { input, output, pool }
    }

    #[inline(always)]
    fn covered(&self, axis: usize, at: usize) -> Range<usize> {
        self.pool.map_or(at..at + 1, |pool| pool.covered(axis, at))
    }

    /// Whether pixels are added up to means, and of how many each is.
    fn mean_of(&self) -> Option<f32> {
        self.pool.filter(|pool| pool.reduction == Reduction::Mean).map(|pool| pool.pixels() as f32)
    }

    /// Calls `visit(output pixel, its window)` for every window.
    #[inline(always)]
    fn each(&self, mut visit: impl FnMut(usize, [Range<usize>; 2])) {
        for y in 0..self.output.height {
            let rows = self.covered(0, y);
            for x in 0..self.output.width {
                visit(y * self.output.width + x, [rows.clone(), self.covered(1, x)]);
            }
        }
    }
}

/// One image of a view that is joined.
#[derive(Clone, Copy)]
pub(super) struct Joined<'a> {
    pub(super) y: &'a [f32],
    pub(super) affine: Affine<'a>,
    pub(super) slope: f32,
}

/// The change of a [`Joined`].
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) y: &'a [f32],
    pub(super) affine: Affine<'a>,
}

/// What joins views, and with which activation.
#[derive(Clone, Copy)]
pub(super) struct Join<'a> {
    pub(super) windows: &'a Windows,
    pub(super) slope: f32,
    /// One or two.
    pub(super) joined: &'a [Joined<'a>],
}

impl Join<'_> {
    /// Panics unless every access of the kernels stays inside.
    fn check(&self, lanes: usize, output: usize) {
        let Windows { input, output: image, .. } = self.windows;
        assert!(input.channels.is_multiple_of(lanes) && input.channels == image.channels);
        assert!(image.len() <= output && !self.joined.is_empty());
        for Joined { y, affine, .. } in self.joined {
            assert!(input.len() <= y.len() && input.channels <= affine.len());
        }
        if let Some(pool) = self.windows.pool {
            assert!(pool.input[1] == input.height && pool.input[2] == input.width);
        }
    }

    /// The sum at a pixel of the images.
    ///
    /// # Safety
    /// The pixel lies in every image, and the channel in every affine map.
    #[inline(always)]
    unsafe fn sum<S: Simd>(&self, simd: S, at: usize, channel: usize) -> S::V {
        let mut sum = simd.zero();
        for Joined { y, affine, slope } in self.joined {
            // SAFETY: the caller's promise.
            unsafe {
                let [scale, shift] = affine.load(simd, channel);
                let v = simd.fma(simd.load(y.as_ptr().add(at + channel)), scale, shift);
                sum = simd.add(sum, activated(simd, v, simd.splat(*slope)));
            }
        }
        sum
    }

    /// The change of that sum.
    ///
    /// # Safety
    /// As [`Self::sum`], for the changes as well.
    #[inline(always)]
    unsafe fn change<S: Simd>(&self, simd: S, changes: &[Change<'_>], at: usize, channel: usize) -> S::V {
        let mut sum = simd.zero();
        for (Joined { y, affine, slope }, change) in self.joined.iter().zip(changes) {
            // SAFETY: the caller's promise.
            unsafe {
                let [scale, shift] = affine.load(simd, channel);
                let [scale_tangent, shift_tangent] = change.affine.load(simd, channel);
                let y = simd.load(y.as_ptr().add(at + channel));
                let y_tangent = simd.load(change.y.as_ptr().add(at + channel));
                let v = simd.fma(y, scale, shift);
                let v_tangent = simd.fma(scale, y_tangent, simd.fma(y, scale_tangent, shift_tangent));
                sum = simd.add(sum, slope_of(simd, v, v_tangent, simd.splat(*slope)));
            }
        }
        sum
    }
}

dispatch! {
    /// The joined image, its spare pixel cleared.
    pub(super) fn join(of: Join<'_>, z: &mut [f32]) = join_kernel
}
dispatch! {
    /// The change of the joined image, its spare pixel cleared.
    pub(super) fn join_tangent(of: Join<'_>, changes: &[Change<'_>], z_tangent: &mut [f32]) = join_tangent_kernel
}
dispatch! {
    /// The gradient in the activated sum's argument, which is that in every view, from `dz`, that in the joined image.
    pub(super) fn part(of: Join<'_>, dz: &[f32], g: &mut [f32]) = part_kernel
}

#[inline(always)]
fn join_kernel<S: Simd>(simd: S, of: Join<'_>, z: &mut [f32]) {
    of.check(S::LANES, z.len());
    let (windows, slope) = (of.windows, simd.splat(of.slope));
    let (step, width, mean_of) = (windows.input.channels, windows.input.width, windows.mean_of());
    windows.each(|to, [rows, columns]| {
        for channel in (0..step).step_by(S::LANES) {
            // SAFETY: windows lie in the images, output pixels in `z`, by `check`.
            unsafe {
                let mut best = None;
                for row in rows.clone() {
                    for column in columns.clone() {
                        let v = of.sum(simd, (row * width + column) * step, channel);
                        best = Some(match (best, mean_of) {
                            (None, None) => v,
                            (None, Some(_)) => activated(simd, v, slope),
                            (Some(best), None) => simd.max(best, v),
                            (Some(sum), Some(_)) => simd.add(sum, activated(simd, v, slope)),
                        });
                    }
                }
                let best = best.unwrap_or(simd.zero());
                let value = match mean_of {
                    None => activated(simd, best, slope),
                    Some(count) => simd.scale(1.0 / count, best),
                };
                simd.store(z.as_mut_ptr().add(to * step + channel), value);
            }
        }
    });
    z[windows.output.pixels() * step..windows.output.len()].fill(0.0);
}

#[inline(always)]
fn join_tangent_kernel<S: Simd>(simd: S, of: Join<'_>, changes: &[Change<'_>], z_tangent: &mut [f32]) {
    of.check(S::LANES, z_tangent.len());
    let (windows, slope) = (of.windows, simd.splat(of.slope));
    let (step, width, mean_of) = (windows.input.channels, windows.input.width, windows.mean_of());
    assert!(changes.len() == of.joined.len());
    assert!(
        changes.iter().all(|change| change.y.len() >= windows.input.len() && change.affine.len() >= step)
    );
    windows.each(|to, [rows, columns]| {
        for channel in (0..step).step_by(S::LANES) {
            // SAFETY: windows lie in the images and their changes, output pixels in `z_tangent`, by the assertions.
            unsafe {
                let mut best: Option<[S::V; 2]> = None;
                for row in rows.clone() {
                    for column in columns.clone() {
                        let at = (row * width + column) * step;
                        let (v, change) = (of.sum(simd, at, channel), of.change(simd, changes, at, channel));
                        best = Some(match (best, mean_of) {
                            (None, None) => [v, change],
                            (Some([best, best_change]), None) => {
                                [simd.max(best, v), simd.select_gt(v, best, change, best_change)]
                            }
                            (sum, Some(_)) => {
                                let change = slope_of(simd, v, change, slope);
                                [v, sum.map_or(change, |[_, sum]| simd.add(sum, change))]
                            }
                        });
                    }
                }
                let [best, change] = best.unwrap_or([simd.zero(); 2]);
                let value = match mean_of {
                    None => slope_of(simd, best, change, slope),
                    Some(count) => simd.scale(1.0 / count, change),
                };
                simd.store(z_tangent.as_mut_ptr().add(to * step + channel), value);
            }
        }
    });
    z_tangent[windows.output.pixels() * step..windows.output.len()].fill(0.0);
}

#[inline(always)]
fn part_kernel<S: Simd>(simd: S, of: Join<'_>, dz: &[f32], g: &mut [f32]) {
    of.check(S::LANES, dz.len());
    let (windows, slope) = (of.windows, simd.splat(of.slope));
    let (step, width, mean_of) = (windows.input.channels, windows.input.width, windows.mean_of());
    assert!(g.len() >= windows.input.len());
    g[..windows.input.len()].fill(0.0);
    windows.each(|from, [rows, columns]| {
        for channel in (0..step).step_by(S::LANES) {
            // SAFETY: windows lie in the images and in `g`, output pixels in `dz`, by `check` and the assertion.
            unsafe {
                let d = simd.load(dz.as_ptr().add(from * step + channel));
                let place = |row: usize, column: usize| (row * width + column) * step;
                if let Some(count) = mean_of {
                    let d = simd.scale(1.0 / count, d);
                    for (row, column) in pixels(&rows, &columns) {
                        let at = place(row, column);
                        let to = g.as_mut_ptr().add(at + channel);
                        let d = slope_of(simd, of.sum(simd, at, channel), d, slope);
                        simd.store(to, simd.add(simd.load(to), d));
                    }
                    continue;
                }
                let mut best = None;
                for (row, column) in pixels(&rows, &columns) {
                    let v = of.sum(simd, place(row, column), channel);
                    best = Some(best.map_or(v, |best| simd.max(best, v)));
                }
                let best = best.unwrap_or(simd.zero());
                // What is left to hand out: all of it, until the first pixel that has the largest value.
                let mut rest = slope_of(simd, best, d, slope);
                for (row, column) in pixels(&rows, &columns) {
                    let at = place(row, column);
                    let v = of.sum(simd, at, channel);
                    let to = g.as_mut_ptr().add(at + channel);
                    let taken = simd.select_gt(best, v, simd.zero(), rest);
                    rest = simd.select_gt(best, v, rest, simd.zero());
                    simd.store(to, simd.add(simd.load(to), taken));
                }
            }
        }
    });
}

#[inline(always)]
fn pixels<'a>(
    rows: &Range<usize>,
    columns: &'a Range<usize>,
) -> impl Iterator<Item = (usize, usize)> + use<'a> {
    rows.clone().flat_map(move |row| columns.clone().map(move |column| (row, column)))
}
