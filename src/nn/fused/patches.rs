//! Convolution as one matrix product over patches of 3×3 pixels: for stride 2, and for images too small for tiles.

use super::arena::LINE;

/// Where the patch of one output pixel lies: offsets, in floats from the start of an image, of its nine input pixels
/// (the spare pixel outside) and of the output.
#[derive(Clone, Debug)]
pub(super) struct Patch {
    pub(super) inputs: [u32; 9],
    pub(super) output: u32,
}

/// Copies the patches of `x`, an image of `channels`, to rows of 9·`channels`.
pub(super) fn lower(patches: &[Patch], channels: usize, x: &[f32], rows: &mut [f32]) {
    for (patch, row) in patches.iter().zip(rows.chunks_exact_mut(9 * channels)) {
        for (&at, pixel) in patch.inputs.iter().zip(row.chunks_exact_mut(channels)) {
            pixel.copy_from_slice(&x[at as usize..][..channels]);
        }
    }
}

/// Copies rows of `channels` to the pixels of an image.
pub(super) fn raise(patches: &[Patch], channels: usize, rows: &[f32], y: &mut [f32]) {
    for (patch, row) in patches.iter().zip(rows.chunks_exact(channels)) {
        y[patch.output as usize..][..channels].copy_from_slice(row);
    }
}

/// Copies the pixels of an image to rows of `channels`: the transpose of [`raise`].
pub(super) fn spread(patches: &[Patch], channels: usize, dy: &[f32], rows: &mut [f32]) {
    for (patch, row) in patches.iter().zip(rows.chunks_exact_mut(channels)) {
        row.copy_from_slice(&dy[patch.output as usize..][..channels]);
    }
}

/// Adds rows of 9·`channels` to the pixels that they are patches of: the transpose of [`lower`].
pub(super) fn gather(patches: &[Patch], channels: usize, rows: &[f32], dx: &mut [f32]) {
    for (patch, row) in patches.iter().zip(rows.chunks_exact(9 * channels)) {
        for (&at, pixel) in patch.inputs.iter().zip(row.chunks_exact(channels)) {
            for (dx, d) in dx[at as usize..][..channels].iter_mut().zip(pixel) {
                *dx += d;
            }
        }
    }
}

/// Filters `[9, inputs, outputs]` as the right factor of patches: panels of 16 columns, `[outputs / 16, 9·inputs, 16]`.
pub(super) fn filters(inputs: usize, outputs: usize, filters: &[f32], panels: &mut [f32]) {
    for (index, panel) in panels.chunks_exact_mut(9 * inputs * LINE).take(outputs / LINE).enumerate() {
        for (row, line) in filters.chunks_exact(outputs).zip(panel.chunks_exact_mut(LINE)) {
            line.copy_from_slice(&row[index * LINE..][..LINE]);
        }
    }
}

/// Filters `[9, outputs, inputs]` as the right factor in the gradient of patches: `[9·inputs / 16, outputs, 16]`.
pub(super) fn transposed_filters(inputs: usize, outputs: usize, filters: &[f32], panels: &mut [f32]) {
    let lines = inputs / LINE;
    for (index, panel) in panels.chunks_exact_mut(outputs * LINE).take(9 * lines).enumerate() {
        let (tap, at) = (index / lines, index % lines * LINE);
        for (output, line) in panel.chunks_exact_mut(LINE).enumerate() {
            line.copy_from_slice(&filters[(tap * outputs + output) * inputs + at..][..LINE]);
        }
    }
}
