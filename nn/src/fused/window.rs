//! Batch norm, ReLU and max-pooling of one window: the steps that the kernels of all passes share.
//!
//! A window is 2×2 values with pooling and one value without: `SIDE` is 2 or 1.

use super::simd::Simd;

/// One vector of channels of the values of a window.
pub(super) type Window<S, const SIDE: usize> = [[<S as Simd>::V; SIDE]; SIDE];

/// Per-channel `scale·y + shift`.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
}

impl Affine<'_> {
    /// How many channels it has.
    pub(super) fn len(self) -> usize {
        self.scale.len().min(self.shift.len())
    }

    /// Scale and shift of a vector of channels.
    ///
    /// # Safety
    /// The vector at `channel` lies inside [`Self::len`].
    #[inline(always)]
    pub(super) unsafe fn load<S: Simd>(self, simd: S, channel: usize) -> [S::V; 2] {
        // SAFETY: the caller's promise.
        unsafe { [simd.load(self.scale.as_ptr().add(channel)), simd.load(self.shift.as_ptr().add(channel))] }
    }
}

/// The values of the window at `at`, of an image whose pixels are `step` floats apart and its lines `line`.
///
/// # Safety
/// All of them can be read.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, const SIDE: usize>(
    simd: S,
    at: *const f32,
    [line, step]: [usize; 2],
) -> Window<S, SIDE> {
    let mut values = [[simd.zero(); SIDE]; SIDE];
    for (row, values) in values.iter_mut().enumerate() {
        for (column, value) in values.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *value = unsafe { simd.load(at.add(row * line + column * step)) };
        }
    }
    values
}

/// `scale·y + shift` of each value.
#[inline(always)]
pub(super) fn normalise<S: Simd, const SIDE: usize>(
    simd: S,
    mut values: Window<S, SIDE>,
    [scale, shift]: [S::V; 2],
) -> Window<S, SIDE> {
    for value in values.as_flattened_mut() {
        *value = simd.fma(*value, scale, shift);
    }
    values
}

/// The largest value.
#[inline(always)]
pub(super) fn largest<S: Simd, const SIDE: usize>(simd: S, v: &Window<S, SIDE>) -> S::V {
    // The largest of each row, then of those: shorter chains than one value after another.
    let mut rows = [simd.zero(); SIDE];
    for (largest, row) in rows.iter_mut().zip(v) {
        *largest = row[0];
        for value in &row[1..] {
            *largest = simd.max(*largest, *value);
        }
    }
    let mut all = rows[0];
    for row in &rows[1..] {
        all = simd.max(all, *row);
    }
    all
}

/// The gradient `d` at the first of the values that is their maximum, if that is positive; 0 at the others.
#[inline(always)]
pub(super) fn route<S: Simd, const SIDE: usize>(simd: S, v: &Window<S, SIDE>, d: S::V) -> Window<S, SIDE> {
    let (zero, max) = (simd.zero(), largest(simd, v));
    let mut rest = simd.select_gt(max, zero, d, zero);
    let mut gradients = [[rest; SIDE]; SIDE];
    let last = SIDE * SIDE - 1;
    let gradients_flat = gradients.as_flattened_mut();
    for (gradient, v) in gradients_flat[..last].iter_mut().zip(v.as_flattened()) {
        *gradient = simd.select_gt(max, *v, zero, rest);
        rest = simd.select_gt(max, *v, rest, zero);
    }
    gradients_flat[last] = rest;
    gradients
}

/// The change of the first maximum of the values, if that is positive, from the change of each.
#[inline(always)]
pub(super) fn change_of_largest<S: Simd, const SIDE: usize>(
    simd: S,
    v: &Window<S, SIDE>,
    v_tangent: &Window<S, SIDE>,
) -> S::V {
    // Compare one after another: a later value counts only where it is greater.
    let (mut max, mut change) = (simd.zero(), simd.zero());
    for (v, v_tangent) in v.as_flattened().iter().zip(v_tangent.as_flattened()) {
        change = simd.select_gt(*v, max, *v_tangent, change);
        max = simd.max(max, *v);
    }
    change
}

/// The change of the normalised values, `scale·ẏ + scaleʹ·y + shiftʹ`.
#[inline(always)]
pub(super) fn normalise_tangent<S: Simd, const SIDE: usize>(
    simd: S,
    values: &Window<S, SIDE>,
    mut changes: Window<S, SIDE>,
    [[scale, _], [scale_tangent, shift_tangent]]: [[S::V; 2]; 2],
) -> Window<S, SIDE> {
    for (value, change) in values.as_flattened().iter().zip(changes.as_flattened_mut()) {
        *change = simd.fma(scale, *change, simd.fma(*value, scale_tangent, shift_tangent));
    }
    changes
}
