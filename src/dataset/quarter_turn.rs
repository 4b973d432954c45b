//! Turning planes of bytes by multiples of 90°, fast enough to do it anew each time an example is sampled.

/// Side of the blocks that are transposed at once: eight rows of eight bytes, each row in a `u64`.
const BLOCK: usize = 8;

/// Turns one plane of `width` columns counter-clockwise by `quarter_turns` × 90°; square if that is odd.
pub(super) fn turn(plane: &[u8], out: &mut [u8], width: usize, quarter_turns: u8) {
    match quarter_turns % 4 {
        0 => out.copy_from_slice(plane),
        2 => reverse(plane, out),
        1 => turn_once::<true>(plane, out, width),
        _ => turn_once::<false>(plane, out, width),
    }
}

/// One turn to the left, else one to the right: column c of the output is row c of the input, counted from above or
/// from below, and row r the column counted from the right or from the left.
fn turn_once<const LEFT: bool>(plane: &[u8], out: &mut [u8], width: usize) {
    if width < BLOCK {
        for (r, row) in out.chunks_exact_mut(width).enumerate() {
            for (c, o) in row.iter_mut().enumerate() {
                *o = plane[if LEFT { c * width + width - 1 - r } else { (width - 1 - c) * width + r }];
            }
        }
        return;
    }
    // The blocks of the last row and column overlap their neighbours where the size is no multiple of theirs.
    let last = width - BLOCK;
    for c in (0..width).step_by(BLOCK).map(|c| c.min(last)) {
        let rows = &plane[if LEFT { c } else { last - c } * width..][..BLOCK * width];
        for x in (0..width).step_by(BLOCK).map(|x| x.min(last)) {
            let columns = transposed(std::array::from_fn(|i| {
                let row = if LEFT { i } else { BLOCK - 1 - i };
                load(rows, row * width + x)
            }));
            let to = &mut out[if LEFT { last - x } else { x } * width..][..BLOCK * width];
            for (i, column) in columns.into_iter().enumerate() {
                let row = if LEFT { BLOCK - 1 - i } else { i };
                to[row * width + c..][..BLOCK].copy_from_slice(&column.to_le_bytes());
            }
        }
    }
}

/// Copies bytes last to first.
fn reverse(plane: &[u8], out: &mut [u8]) {
    let (rest, blocks) = plane.as_rchunks::<BLOCK>();
    let (out_blocks, out_rest) = out.as_chunks_mut::<BLOCK>();
    for (block, o) in blocks.iter().rev().zip(out_blocks) {
        *o = u64::from_le_bytes(*block).swap_bytes().to_le_bytes();
    }
    out_rest.iter_mut().zip(rest.iter().rev()).for_each(|(o, &p)| *o = p);
}

/// Eight bytes from `at`, the first in the lowest bits.
fn load(plane: &[u8], at: usize) -> u64 {
    let mut bytes = [0; BLOCK];
    bytes.copy_from_slice(&plane[at..at + BLOCK]);
    u64::from_le_bytes(bytes)
}

/// Transposes 8×8 bytes: swaps the off-diagonal quarters of blocks of 8, then 4, then 2 (Warren, *Hacker's Delight*,
/// §7-3).
fn transposed(mut rows: [u64; BLOCK]) -> [u64; BLOCK] {
    for (distance, mask) in
        [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)]
    {
        for i in (0..BLOCK).filter(|i| i & distance == 0) {
            let (upper, lower) = (rows[i], rows[i + distance]);
            let swap = ((upper >> (8 * distance)) ^ lower) & mask;
            rows[i + distance] = lower ^ swap;
            rows[i] = upper ^ (swap << (8 * distance));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_turn_moves_the_top_right_corner_to_the_top_left_and_three_the_bottom_left() {
        let plane: Vec<u8> = (0..9).collect();
        let mut out = vec![0; 9];
        turn(&plane, &mut out, 3, 1);
        assert_eq!(out, [2, 5, 8, 1, 4, 7, 0, 3, 6]);
        turn(&plane, &mut out, 3, 3);
        assert_eq!(out, [6, 3, 0, 7, 4, 1, 8, 5, 2]);
    }

    #[test]
    fn turns_of_any_size_are_as_defined_and_four_are_the_identity() {
        for width in [1, 2, 7, 8, 9, 16, 28, 31, 84] {
            let plane: Vec<u8> = (0..width * width).map(|i| (i * 37 % 251) as u8).collect();
            let (mut once, mut thrice) = (vec![0; plane.len()], vec![0; plane.len()]);
            turn(&plane, &mut once, width, 1);
            turn(&plane, &mut thrice, width, 3);
            for r in 0..width {
                for c in 0..width {
                    assert_eq!(once[r * width + c], plane[c * width + width - 1 - r], "width {width}");
                    assert_eq!(thrice[r * width + c], plane[(width - 1 - c) * width + r], "width {width}");
                }
            }
            let (mut twice, mut back) = (vec![0; plane.len()], vec![0; plane.len()]);
            turn(&once, &mut twice, width, 1);
            turn(&plane, &mut back, width, 2);
            assert_eq!(twice, back);
            turn(&thrice, &mut back, width, 1);
            assert_eq!(back, plane);
        }
    }
}
