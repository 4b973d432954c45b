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

/// Bᵀ of F(M, 3): inputs to points.
pub(super) struct BTransposed<const M: usize>;

impl Transform<6, 6> for BTransposed<4> {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
        let k = |x: f32| simd.splat(x);
        let even_p = simd.fma(k(-Q2), d[2], d[4]);
        let odd_p = simd.fma(k(-Q2), d[1], d[3]);
        let even_q = simd.fma(k(-P2), d[2], d[4]);
        let odd_q = simd.fma(k(-P2), d[1], d[3]);
        [
            simd.fma(k(P2 * Q2), d[0], simd.fma(k(-P2 - Q2), d[2], d[4])),
            simd.fma(k(P), odd_p, even_p),
            simd.fma(k(-P), odd_p, even_p),
            simd.fma(k(Q), odd_q, even_q),
            simd.fma(k(-Q), odd_q, even_q),
            simd.fma(k(P2 * Q2), d[1], simd.fma(k(-P2 - Q2), d[3], d[5])),
        ]
    }
}

/// The transpose of [`BTransposed`].
pub(super) struct B<const M: usize>;

impl Transform<6, 6> for B<4> {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 6] {
        let k = |x: f32| simd.splat(x);
        let (sum_p, difference_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_q, difference_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        let odd_p = simd.mul(k(P), difference_p);
        let odd_q = simd.mul(k(Q), difference_q);
        [
            simd.mul(k(P2 * Q2), m[0]),
            simd.fma(k(P2 * Q2), m[5], simd.fma(k(-Q2), odd_p, simd.mul(k(-P2), odd_q))),
            simd.fma(k(-P2 - Q2), m[0], simd.fma(k(-Q2), sum_p, simd.mul(k(-P2), sum_q))),
            simd.fma(k(-P2 - Q2), m[5], simd.add(odd_p, odd_q)),
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
        let k = |x: f32| simd.splat(x);
        let (sum_p, difference_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_q, difference_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        [
            simd.add(m[0], simd.add(sum_p, sum_q)),
            simd.fma(k(P), difference_p, simd.mul(k(Q), difference_q)),
            simd.fma(k(P2), sum_p, simd.mul(k(Q2), sum_q)),
            simd.fma(k(P2 * P), difference_p, simd.fma(k(Q2 * Q), difference_q, m[5])),
        ]
    }
}

/// The transpose of [`ATransposed`].
pub(super) struct A<const M: usize>;

impl Transform<4, 6> for A<4> {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::V; 4]) -> [S::V; 6] {
        let k = |x: f32| simd.splat(x);
        let even_p = simd.fma(k(P2), d[2], d[0]);
        let odd_p = simd.fma(k(P2), d[3], d[1]);
        let even_q = simd.fma(k(Q2), d[2], d[0]);
        let odd_q = simd.fma(k(Q2), d[3], d[1]);
        [
            d[0],
            simd.fma(k(P), odd_p, even_p),
            simd.fma(k(-P), odd_p, even_p),
            simd.fma(k(Q), odd_q, even_q),
            simd.fma(k(-Q), odd_q, even_q),
            d[3],
        ]
    }
}

/// G: filter to points.
pub(super) struct G;

impl Transform<3, 6> for G {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, w: [S::V; 3]) -> [S::V; 6] {
        let k = |x: f32| simd.splat(x);
        let even_p = simd.mul(k(1.0 / AT_P), simd.fma(k(P2), w[2], w[0]));
        let even_q = simd.mul(k(1.0 / AT_Q), simd.fma(k(Q2), w[2], w[0]));
        [
            simd.mul(k(1.0 / AT_0), w[0]),
            simd.fma(k(P / AT_P), w[1], even_p),
            simd.fma(k(-P / AT_P), w[1], even_p),
            simd.fma(k(Q / AT_Q), w[1], even_q),
            simd.fma(k(-Q / AT_Q), w[1], even_q),
            w[2],
        ]
    }
}

/// The transpose of [`G`].
pub(super) struct GTransposed;

impl Transform<6, 3> for GTransposed {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 3] {
        let k = |x: f32| simd.splat(x);
        let (sum_p, difference_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_q, difference_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        [
            simd.fma(k(1.0 / AT_P), sum_p, simd.fma(k(1.0 / AT_Q), sum_q, simd.mul(k(1.0 / AT_0), m[0]))),
            simd.fma(k(P / AT_P), difference_p, simd.mul(k(Q / AT_Q), difference_q)),
            simd.fma(k(P2 / AT_P), sum_p, simd.fma(k(Q2 / AT_Q), sum_q, m[5])),
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
                *y = simd.fma(simd.splat(*factor), x, *y);
            }
        }
    }
    y
}

/// `matrixᵀ · x`.
#[inline(always)]
fn times_transposed<S: Simd, const I: usize, const O: usize>(
    simd: S,
    matrix: &[[f32; O]; I],
    x: [S::V; I],
) -> [S::V; O] {
    let mut y = [simd.zero(); O];
    for (row, x) in matrix.iter().zip(x) {
        for (y, factor) in y.iter_mut().zip(row) {
            if *factor != 0.0 {
                *y = simd.fma(simd.splat(*factor), x, *y);
            }
        }
    }
    y
}

/// A transform that is a product with a matrix.
macro_rules! by_matrix {
    ($($name:ident<$m:literal>: $i:literal to $o:literal = $product:ident($matrix:ident);)*) => {$(
        impl Transform<$i, $o> for $name<$m> {
            #[inline(always)]
            fn apply<S: Simd>(simd: S, x: [S::V; $i]) -> [S::V; $o] {
                $product(simd, &$matrix, x)
            }
        }
    )*};
}

by_matrix! {
    BTransposed<3>: 5 to 5 = times(B3);
    BTransposed<2>: 4 to 4 = times(B2);
    B<3>: 5 to 5 = times_transposed(B3);
    B<2>: 4 to 4 = times_transposed(B2);
    ATransposed<3>: 5 to 3 = times(A3);
    ATransposed<2>: 4 to 2 = times(A2);
    A<3>: 3 to 5 = times_transposed(A3);
    A<2>: 2 to 4 = times_transposed(A2);
}
