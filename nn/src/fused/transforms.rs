//! The one-dimensional transforms of Winograd's minimal filtering F(M, 3), for M = 4, 3 and 2 outputs.
//!
//! All share their points, and so the transformed filters: F(4, 3) has 0, ±3/4, ±3/2 and ∞, F(3, 3) lacks −3/2, F(2, 3)
//! both ±3/2. The usual 0, ±1, ±2, ∞ lose twice as much: on 64 channels the norm-wise error of F(4×4, 3×3) in f32 is 7e-7
//! for outputs (1.2e-6 with the usual points, 1.1e-7 direct), 1.1e-6 for dw and 8e-7 for dx. All constants of Bᵀ and Aᵀ
//! are exact in f32.

use super::simd::Simd;

/// The interpolation points ±P and ±Q, and what the transforms need of them.
const P: f32 = 0.75;
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;
/// Derivatives of the polynomial with these roots at 0, ±P and ±Q: divisors of the rows of G.
const AT_0: f32 = P2 * Q2;
const AT_P: f32 = 2.0 * P2 * (P2 - Q2);
const AT_Q: f32 = 2.0 * Q2 * (Q2 - P2);

/// A transform in one dimension. A trait, since a function passed as an argument would not be inlined into a function
/// of the instruction set.
pub(super) trait Transform<const I: usize, const O: usize> {
    fn apply<S: Simd>(simd: S, x: [S::V; I]) -> [S::V; O];
}

/// Sum and difference of the values at P and −P, and at Q and −Q.
#[inline(always)]
fn sums_and_differences<S: Simd>(simd: S, m: &[S::V; 6]) -> [S::V; 4] {
    [simd.add(m[1], m[2]), simd.sub(m[1], m[2]), simd.add(m[3], m[4]), simd.sub(m[3], m[4])]
}

/// `even ± factor · odd`.
#[inline(always)]
fn plus_minus<S: Simd>(simd: S, even: S::V, factor: f32, odd: S::V) -> [S::V; 2] {
    [simd.scaled_add(factor, odd, even), simd.scaled_add(-factor, odd, even)]
}

/// Bᵀ of F(M, 3): inputs to points.
pub(super) struct BTransposed<const M: usize>;

impl Transform<6, 6> for BTransposed<4> {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
        let even_p = simd.scaled_add(-Q2, d[2], d[4]);
        let odd_p = simd.scaled_add(-Q2, d[1], d[3]);
        let even_q = simd.scaled_add(-P2, d[2], d[4]);
        let odd_q = simd.scaled_add(-P2, d[1], d[3]);
        let [at_p, at_minus_p] = plus_minus(simd, even_p, P, odd_p);
        let [at_q, at_minus_q] = plus_minus(simd, even_q, Q, odd_q);
        let at_0 = simd.scaled_add(P2 * Q2, d[0], simd.scaled_add(-P2 - Q2, d[2], d[4]));
        let at_infinity = simd.scaled_add(P2 * Q2, d[1], simd.scaled_add(-P2 - Q2, d[3], d[5]));
        [at_0, at_p, at_minus_p, at_q, at_minus_q, at_infinity]
    }
}

/// The transpose of [`BTransposed`].
pub(super) struct B<const M: usize>;

impl Transform<6, 6> for B<4> {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 6] {
        let [sum_p, difference_p, sum_q, difference_q] = sums_and_differences(simd, &m);
        let odd_p = simd.scale(P, difference_p);
        let odd_q = simd.scale(Q, difference_q);
        [
            simd.scale(P2 * Q2, m[0]),
            simd.scaled_add(P2 * Q2, m[5], simd.scaled_add(-Q2, odd_p, simd.scale(-P2, odd_q))),
            simd.scaled_add(-P2 - Q2, m[0], simd.scaled_add(-Q2, sum_p, simd.scale(-P2, sum_q))),
            simd.scaled_add(-P2 - Q2, m[5], simd.add(odd_p, odd_q)),
            simd.add(m[0], simd.add(sum_p, sum_q)),
            m[5],
        ]
    }
}

/// Aᵀ of F(M, 3): points to outputs.
pub(super) struct ATransposed<const M: usize>;

impl Transform<6, 4> for ATransposed<4> {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 4] {
        let [sum_p, difference_p, sum_q, difference_q] = sums_and_differences(simd, &m);
        [
            simd.add(m[0], simd.add(sum_p, sum_q)),
            simd.scaled_add(P, difference_p, simd.scale(Q, difference_q)),
            simd.scaled_add(P2, sum_p, simd.scale(Q2, sum_q)),
            simd.scaled_add(P2 * P, difference_p, simd.scaled_add(Q2 * Q, difference_q, m[5])),
        ]
    }
}

/// The transpose of [`ATransposed`].
pub(super) struct A<const M: usize>;

impl Transform<4, 6> for A<4> {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::V; 4]) -> [S::V; 6] {
        let even_p = simd.scaled_add(P2, d[2], d[0]);
        let odd_p = simd.scaled_add(P2, d[3], d[1]);
        let even_q = simd.scaled_add(Q2, d[2], d[0]);
        let odd_q = simd.scaled_add(Q2, d[3], d[1]);
        let [at_p, at_minus_p] = plus_minus(simd, even_p, P, odd_p);
        let [at_q, at_minus_q] = plus_minus(simd, even_q, Q, odd_q);
        [d[0], at_p, at_minus_p, at_q, at_minus_q, d[3]]
    }
}

/// G: filter to points.
pub(super) struct G;

impl Transform<3, 6> for G {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, w: [S::V; 3]) -> [S::V; 6] {
        let even_p = simd.scale(1.0 / AT_P, simd.scaled_add(P2, w[2], w[0]));
        let even_q = simd.scale(1.0 / AT_Q, simd.scaled_add(Q2, w[2], w[0]));
        let [at_p, at_minus_p] = plus_minus(simd, even_p, P / AT_P, w[1]);
        let [at_q, at_minus_q] = plus_minus(simd, even_q, Q / AT_Q, w[1]);
        [simd.scale(1.0 / AT_0, w[0]), at_p, at_minus_p, at_q, at_minus_q, w[2]]
    }
}

/// The transpose of [`G`].
pub(super) struct GTransposed;

impl Transform<6, 3> for GTransposed {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 3] {
        let [sum_p, difference_p, sum_q, difference_q] = sums_and_differences(simd, &m);
        [
            simd.scaled_add(
                1.0 / AT_P,
                sum_p,
                simd.scaled_add(1.0 / AT_Q, sum_q, simd.scale(1.0 / AT_0, m[0])),
            ),
            simd.scaled_add(P / AT_P, difference_p, simd.scale(Q / AT_Q, difference_q)),
            simd.scaled_add(P2 / AT_P, sum_p, simd.scaled_add(Q2 / AT_Q, sum_q, m[5])),
        ]
    }
}

/// Bᵀ of F(3, 3), whose points are 0, ±P, Q and ∞. The filter's values at the points are divided as F(4, 3) wants it; the
/// factor p + Q of each row makes up for that. Exact in f32, as are the others.
const B3: [[f32; 5]; 5] = {
    let [at_0, at_p, at_minus_p, at_q] = [Q, P + Q, Q - P, 2.0 * Q];
    [
        [at_0 * P2 * Q, -at_0 * P2, -at_0 * Q, at_0, 0.0],
        [0.0, -at_p * P * Q, at_p * (P - Q), at_p, 0.0],
        [0.0, at_minus_p * P * Q, -at_minus_p * (P + Q), at_minus_p, 0.0],
        [0.0, -at_q * P2, 0.0, at_q, 0.0],
        [0.0, P2 * Q, -P2, -Q, 1.0],
    ]
};
/// Bᵀ of F(2, 3), whose points are 0, ±P and ∞; the factors are p² − Q².
const B2: [[f32; 4]; 4] = {
    let [at_0, at_p] = [-Q2, P2 - Q2];
    [
        [-at_0 * P2, 0.0, at_0, 0.0],
        [0.0, at_p * P, at_p, 0.0],
        [0.0, -at_p * P, at_p, 0.0],
        [0.0, -P2, 0.0, 1.0],
    ]
};
/// Aᵀ of F(3, 3) and F(2, 3): powers of the points.
const A3: [[f32; 5]; 3] = [[1.0, 1.0, 1.0, 1.0, 0.0], [0.0, P, -P, Q, 0.0], [0.0, P2, P2, Q2, 1.0]];
const A2: [[f32; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, P, -P, 1.0]];

/// `matrix · x`, written out: a factor of 0 costs nothing.
#[inline(always)]
fn times<S: Simd, const I: usize, const O: usize>(
    simd: S,
    matrix: &[[f32; I]; O],
    x: [S::V; I],
) -> [S::V; O] {
    let mut y = [simd.zero(); O];
    for (y, row) in y.iter_mut().zip(matrix) {
        for (factor, x) in row.iter().zip(x) {
            if *factor != 0.0 {
                *y = simd.scaled_add(*factor, x, *y);
            }
        }
    }
    y
}

const fn transposed<const I: usize, const O: usize>(matrix: [[f32; I]; O]) -> [[f32; O]; I] {
    let mut turned = [[0.0; O]; I];
    let mut at = 0;
    while at < I * O {
        turned[at % I][at / I] = matrix[at / I][at % I];
        at += 1;
    }
    turned
}

/// A transform that is a product with a matrix.
macro_rules! by_matrix {
    ($($name:ident<$m:literal>: $i:literal to $o:literal = $matrix:expr;)*) => {$(
        impl Transform<$i, $o> for $name<$m> {
            #[inline(always)]
            fn apply<S: Simd>(simd: S, x: [S::V; $i]) -> [S::V; $o] {
                times(simd, const { &$matrix }, x)
            }
        }
    )*};
}

by_matrix! {
    BTransposed<3>: 5 to 5 = B3;
    BTransposed<2>: 4 to 4 = B2;
    B<3>: 5 to 5 = transposed(B3);
    B<2>: 4 to 4 = transposed(B2);
    ATransposed<3>: 5 to 3 = A3;
    ATransposed<2>: 4 to 2 = A2;
    A<3>: 3 to 5 = transposed(A3);
    A<2>: 2 to 4 = transposed(A2);
}
