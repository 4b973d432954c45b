//! A character as a program: what the pen does, before anyone's hand adds its variation.

use kshot::rng::Rng;
use rand::Rng as _;

/// A point or vector, `[x, y]`; x runs right, y down, the character's box is 0–1.
pub(super) type Point = [f32; 2];

/// Length of ink, in boxes: with less a character is too plain to tell apart, with more it is a scribble.
const INK: std::ops::Range<f32> = 1.3..4.8;
/// The smaller side of a character, in boxes: narrower ones are strokes written over each other.
const LEAST_SIDE: f32 = 0.35;

/// What the pen does to write a character.
pub(super) struct Program {
    /// Points the pen passes through, scaled to fill the box 0–1.
    pub(super) knots: Vec<Point>,
    /// Smooth pieces of ink, each through the knots with these numbers. Pieces share a knot where a stroke has a
    /// corner or begins on another stroke, so they stay joined however the knots are moved.
    pub(super) pieces: Vec<Vec<usize>>,
}

/// A stroke's form.
#[derive(Clone, Copy)]
enum Form {
    /// A straight line.
    Line,
    /// Two straight lines that meet in a corner.
    Corner,
    /// Bent evenly to one side: from a shallow arc to a loop.
    Arc,
    /// Bent one way, then the other.
    Wave,
}

impl Program {
    /// A character of 1–4 strokes, redrawn until one can be recognised.
    pub(super) fn random(rng: &mut Rng) -> Self {
        loop {
            let mut program = Self { knots: Vec::new(), pieces: Vec::new() };
            let strokes = pick(rng, &[(1, 0.15), (2, 0.35), (3, 0.35), (4, 0.15)]);
            for _ in 0..strokes {
                program.add_stroke(rng);
            }
            if program.fill_box() > LEAST_SIDE && INK.contains(&program.ink()) {
                return program;
            }
        }
    }

    /// Adds a stroke that begins on an earlier one or somewhere of its own.
    fn add_stroke(&mut self, rng: &mut Rng) {
        let first = if !self.knots.is_empty() && rng.random_bool(0.55) {
            rng.random_range(0..self.knots.len())
        } else {
            self.add_knot([rng.random_range(0.0..1.0), rng.random_range(0.0..1.0)])
        };
        let form =
            pick(rng, &[(Form::Line, 0.36), (Form::Corner, 0.2), (Form::Arc, 0.3), (Form::Wave, 0.14)]);
        let heading = self.heading(rng, first);
        match form {
            Form::Line => {
                let length = rng.random_range(0.35..0.95);
                let last = self.line(first, heading, length);
                self.pieces.push(last);
            }
            Form::Corner => {
                let down = self.line(first, heading, rng.random_range(0.3..0.75));
                let corner = down[down.len() - 1];
                // tan(θ/2) of a turn by 60°–140° to either side.
                let turn = side(rng) * rng.random_range(0.58..2.7);
                let back = self.line(corner, turned(heading, turn), rng.random_range(0.3..0.75));
                self.pieces.extend([down, back]);
            }
            Form::Arc => {
                let steps = rng.random_range(3..=6);
                let turn = side(rng) * rng.random_range(0.14..0.5);
                let length = rng.random_range(0.16..0.3);
                let piece = self.walk(first, heading, length, (0..steps).map(|_| turn));
                self.pieces.push(piece);
            }
            Form::Wave => {
                let turn = side(rng) * rng.random_range(0.3..0.55);
                let length = rng.random_range(0.16..0.26);
                let turns = [turn, turn, -turn, -turn, -turn];
                let piece = self.walk(first, heading, length, turns.into_iter());
                self.pieces.push(piece);
            }
        }
    }

    /// A direction for a stroke from `first`: near one of the eight that hands prefer, towards the middle of the box.
    fn heading(&self, rng: &mut Rng, first: usize) -> Point {
        const DIAGONAL: f32 = std::f32::consts::FRAC_1_SQRT_2;
        let inwards = [0.5 - self.knots[first][0], 0.5 - self.knots[first][1]];
        loop {
            let base = pick(
                rng,
                &[
                    ([1.0, 0.0], 0.24),
                    ([0.0, 1.0], 0.28),
                    ([-1.0, 0.0], 0.1),
                    ([0.0, -1.0], 0.06),
                    ([DIAGONAL, DIAGONAL], 0.1),
                    ([-DIAGONAL, DIAGONAL], 0.12),
                    ([DIAGONAL, -DIAGONAL], 0.06),
                    ([-DIAGONAL, -DIAGONAL], 0.04),
                ],
            );
            if base[0] * inwards[0] + base[1] * inwards[1] > -0.15 {
                return turned(base, rng.random_range(-0.15..0.15));
            }
        }
    }

    fn add_knot(&mut self, point: Point) -> usize {
        self.knots.push(point);
        self.knots.len() - 1
    }

    /// A straight piece; it has a knot in its middle, so that a hand can bend it.
    fn line(&mut self, first: usize, heading: Point, length: f32) -> Vec<usize> {
        self.walk(first, heading, length / 2.0, [0.0, 0.0].into_iter())
    }

    /// A piece of steps of one length, the heading turned before each; turns are tan(θ/2).
    fn walk(
        &mut self,
        first: usize,
        mut heading: Point,
        length: f32,
        turns: impl Iterator<Item = f32>,
    ) -> Vec<usize> {
        let mut piece = vec![first];
        let mut at = self.knots[first];
        for turn in turns {
            heading = turned(heading, turn);
            at = [at[0] + length * heading[0], at[1] + length * heading[1]];
            piece.push(self.add_knot(at));
        }
        piece
    }

    /// Scales and shifts the knots so that the larger side of their bounding box is 0–1 and the smaller is centred;
    /// returns the length of the smaller.
    fn fill_box(&mut self) -> f32 {
        let mut low = [f32::MAX; 2];
        let mut high = [f32::MIN; 2];
        for knot in &self.knots {
            for axis in 0..2 {
                low[axis] = low[axis].min(knot[axis]);
                high[axis] = high[axis].max(knot[axis]);
            }
        }
        let sides = [high[0] - low[0], high[1] - low[1]];
        let size = sides[0].max(sides[1]);
        for knot in &mut self.knots {
            for axis in 0..2 {
                knot[axis] = 0.5 + (knot[axis] - (low[axis] + high[axis]) / 2.0) / size;
            }
        }
        sides[0].min(sides[1]) / size
    }

    /// Length of the pieces, knot to knot.
    fn ink(&self) -> f32 {
        let piece = |knots: &Vec<usize>| -> f32 {
            knots.windows(2).map(|pair| distance(self.knots[pair[0]], self.knots[pair[1]])).sum()
        };
        self.pieces.iter().map(piece).sum()
    }
}

/// Euclidean distance.
fn distance(a: Point, b: Point) -> f32 {
    let (x, y) = (a[0] - b[0], a[1] - b[1]);
    (x * x + y * y).sqrt()
}

/// `v` turned by θ, given tan(θ/2): exact arithmetic where sin and cos would differ between machines.
pub(super) fn turned(v: Point, tan_half: f32) -> Point {
    let square = tan_half * tan_half;
    let (cos, sin) = ((1.0 - square) / (1.0 + square), 2.0 * tan_half / (1.0 + square));
    [cos * v[0] - sin * v[1], sin * v[0] + cos * v[1]]
}

/// −1 or 1.
fn side(rng: &mut Rng) -> f32 {
    if rng.random_bool(0.5) { 1.0 } else { -1.0 }
}

/// One of `choices`, each with its probability.
fn pick<T: Copy>(rng: &mut Rng, choices: &[(T, f32)]) -> T {
    let mut at = rng.random_range(0.0..1.0f32);
    for &(choice, probability) in choices {
        at -= probability;
        if at < 0.0 {
            return choice;
        }
    }
    choices[choices.len() - 1].0
}
