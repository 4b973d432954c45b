//! One drawing of a character: the program, written by a hand that is never twice the same.

use kshot::rng::Rng;
use rand::Rng as _;

use super::SIZE;
use super::pen::Pen;
use super::program::{Point, Program, turned};

/// Standard deviation of a knot, in boxes: the hand's main variation.
const KNOT: f32 = 0.055;
/// Side of the character's box, in pixels.
const BOX: f32 = 17.0;
/// Standard deviation of either scale, as a share.
const SCALE: f32 = 0.15;
/// Standard deviation of the slant: horizontal pixels a vertical pixel.
const SLANT: f32 = 0.16;
/// Standard deviation of tan(θ/2) of the turn.
const TURN: f32 = 0.06;
/// Standard deviation of the place, in pixels.
const PLACE: f32 = 1.6;
/// Thinnest and thickest pen, in pixels.
const PEN: std::ops::Range<f32> = 1.2..2.2;
/// Straight pieces that stand for the curve between two knots.
const CHORDS: usize = 6;

/// Draws `program` on `image`, `[SIZE, SIZE]`, which is blank.
pub(super) fn draw(program: &Program, rng: &mut Rng, image: &mut [u8]) {
    let scale = [BOX * (1.0 + SCALE * normal(rng)), BOX * (1.0 + SCALE * normal(rng))];
    let slant = SLANT * normal(rng);
    let turn = TURN * normal(rng);
    let middle = (SIZE as f32 - 1.0) / 2.0;
    let place = [middle + PLACE * normal(rng), middle + PLACE * normal(rng)];
    let knots: Vec<Point> = program
        .knots
        .iter()
        .map(|knot| {
            let x = scale[0] * (knot[0] - 0.5 + KNOT * normal(rng));
            let y = scale[1] * (knot[1] - 0.5 + KNOT * normal(rng));
            let at = turned([x - slant * y, y], turn);
            [place[0] + at[0], place[1] + at[1]]
        })
        .collect();
    let mut pen = Pen::new(rng.random_range(PEN), image);
    for piece in &program.pieces {
        let knot = |i: usize| knots[piece[i.min(piece.len() - 1)]];
        let mut from = knot(0);
        for i in 0..piece.len() - 1 {
            let around = [knot(i.saturating_sub(1)), knot(i), knot(i + 1), knot(i + 2)];
            for step in 1..=CHORDS {
                let to = catmull_rom(around, step as f32 / CHORDS as f32);
                pen.line(from, to);
                from = to;
            }
        }
    }
}

/// The Catmull–Rom spline through `p[1]` (t = 0) and `p[2]` (t = 1).
fn catmull_rom(p: [Point; 4], t: f32) -> Point {
    std::array::from_fn(|axis| {
        let [a, b, c, d] = p.map(|point| point[axis]);
        b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
    })
}

/// Nearly normal, with mean 0 and variance 1: the sum of four uniforms (no logarithm, whose bits vary by machine).
fn normal(rng: &mut Rng) -> f32 {
    const SQRT_3: f32 = 1.732_050_8;
    (0..4).map(|_| rng.random_range(-0.5..0.5f32)).sum::<f32>() * SQRT_3
}
