//! Vector arithmetic of one instruction set behind one trait, so that every kernel is written once.
//!
//! A kernel is an `#[inline(always)]` function generic over [`Simd`]; [`dispatch!`](dispatch) compiles it once per
//! instruction set, inside a function with the set's target features, and picks one at run time.

use crate::{Error, Result};

/// An instruction set that this CPU has: values other than `Portable` come from [`Isa::available`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Isa {
    /// The instruction sets of this CPU, widest first.
    pub(super) fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                sets.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            sets.push(Self::Neon);
        }
        sets.push(Self::Portable);
        sets
    }

    /// The widest instruction set of this CPU, or the one that the variable `KSHOT_ISA` names.
    pub(super) fn choose() -> Result<Self> {
        let available = Self::available();
        let Some(wanted) = std::env::var_os("KSHOT_ISA").filter(|name| !name.is_empty()) else {
            return Ok(available[0]);
        };
        available.iter().copied().find(|isa| wanted == isa.name()).ok_or_else(|| {
            let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
            let (wanted, names) = (wanted.to_string_lossy(), names.join(", "));
            Error::invalid(format!("KSHOT_ISA is `{wanted}`, but this CPU has: {names}"))
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// Floats of its vectors.
    pub(super) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::LANES,
            Self::Portable => Portable::LANES,
        }
    }
}

/// Vectors of `LANES` floats. `LANES` divides 16, and all buffers of the backend hold whole lines of 16.
pub(super) trait Simd: Copy {
    type V: Copy;
    const LANES: usize;

    /// # Safety
    /// `LANES` floats at `at` can be read.
    unsafe fn load(self, at: *const f32) -> Self::V;
    /// # Safety
    /// `LANES` floats at `at` can be written.
    unsafe fn store(self, at: *mut f32, v: Self::V);
    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `yes` where `a > b`, else `no`.
    fn select_gt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// `factor · b`.
    #[inline(always)]
    fn scale(self, factor: f32, b: Self::V) -> Self::V {
        self.mul(self.splat(factor), b)
    }

    /// `factor · b + c`.
    #[inline(always)]
    fn scaled_add(self, factor: f32, b: Self::V, c: Self::V) -> Self::V {
        self.fma(self.splat(factor), b, c)
    }

    /// `LANES` vectors, the first `LANES` of `rows`, as the columns of a matrix whose rows they were.
    fn transpose(self, rows: &mut [Self::V; 16]);

    /// The first `count` floats at `at`, then zeros.
    ///
    /// # Safety
    /// They can be read, and are no more than `LANES`.
    #[inline(always)]
    unsafe fn load_first(self, at: *const f32, count: usize) -> Self::V {
        let mut lanes = [0.0_f32; 16];
        // SAFETY: vectors have at most 16 floats, and the caller's promise.
        unsafe {
            at.copy_to_nonoverlapping(lanes.as_mut_ptr(), count);
            self.load(lanes.as_ptr())
        }
    }

    /// `v`, plus the first `count` floats at `at` if `ADD`, to the first `count` floats at `at`.
    ///
    /// # Safety
    /// They can be read and written, and are no more than `LANES`.
    #[inline(always)]
    unsafe fn store_first<const ADD: bool>(self, at: *mut f32, v: Self::V, count: usize) {
        let mut lanes = [0.0_f32; 16];
        // SAFETY: vectors have at most 16 floats, and the caller's promise.
        unsafe {
            if ADD {
                at.copy_to_nonoverlapping(lanes.as_mut_ptr(), count);
            }
            let v = if ADD { self.add(self.load(lanes.as_ptr()), v) } else { v };
            self.store(lanes.as_mut_ptr(), v);
            at.copy_from_nonoverlapping(lanes.as_ptr(), count);
        }
    }
}

/// No instructions asked for: arrays that the compiler vectorises as the target allows.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type V = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(self, at: *const f32) -> Self::V {
        // SAFETY: the caller's promise; arrays of floats need no more alignment than a float.
        unsafe { at.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<[f32; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; 8]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `mul_add`, which is a slow library call on a target without the instruction.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn select_gt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [Self::V; 16]) {
        let from = *rows;
        for (i, row) in rows.iter_mut().take(8).enumerate() {
            *row = std::array::from_fn(|j| from[j][i]);
        }
    }
}

/// A token for an instruction set, and its [`Simd`] in terms of intrinsics.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! instruction_set {
    ($(#[$doc:meta])* $name:ident, $vector:ty, $lanes:literal, $load:ident, $store:ident, $splat:ident,
     { $($binary:ident: $intrinsic:ident),* }, fma: |$a:ident, $b:ident, $c:ident| $fma:expr,
     select_gt: |$p:ident, $q:ident, $yes:ident, $no:ident| $select:expr, $($more:item)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(in crate::fused) struct $name(());

        impl $name {
            /// # Safety
            /// The CPU has this instruction set.
            #[inline(always)]
            pub(in crate::fused) unsafe fn assume() -> Self {
                Self(())
            }
        }

        impl Simd for $name {
            type V = $vector;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn load(self, at: *const f32) -> Self::V {
                // SAFETY: the token says that the CPU has the instruction, the caller that the floats are there.
                unsafe { $load(at) }
            }
            #[inline(always)]
            unsafe fn store(self, at: *mut f32, v: Self::V) {
                // SAFETY: as for `load`.
                unsafe { $store(at, v) }
            }
            #[inline(always)]
            fn splat(self, x: f32) -> Self::V {
                // SAFETY: the token says that the CPU has the instruction; so below.
                unsafe { $splat(x) }
            }
            $(#[inline(always)]
            fn $binary(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as for `splat`.
                unsafe { $intrinsic(a, b) }
            })*
            #[inline(always)]
            fn fma(self, $a: Self::V, $b: Self::V, $c: Self::V) -> Self::V {
                // SAFETY: as for `splat`.
                unsafe { $fma }
            }
            #[inline(always)]
            fn select_gt(self, $p: Self::V, $q: Self::V, $yes: Self::V, $no: Self::V) -> Self::V {
                // SAFETY: as for `splat`.
                unsafe { $select }
            }
            $($more)*
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Simd;

    instruction_set!(
        /// NEON: every 64-bit ARM.
        Neon, float32x4_t, 4, vld1q_f32, vst1q_f32, vdupq_n_f32,
        { add: vaddq_f32, sub: vsubq_f32, mul: vmulq_f32, max: vmaxq_f32 },
        fma: |a, b, c| vfmaq_f32(c, a, b),
        select_gt: |a, b, yes, no| vbslq_f32(vcgtq_f32(a, b), yes, no),
        #[inline(always)]
        fn transpose(self, rows: &mut [Self::V; 16]) {
            // SAFETY: as for `splat`.
            unsafe {
                let (a, b) = (vtrnq_f32(rows[0], rows[1]), vtrnq_f32(rows[2], rows[3]));
                rows[0] = vcombine_f32(vget_low_f32(a.0), vget_low_f32(b.0));
                rows[1] = vcombine_f32(vget_low_f32(a.1), vget_low_f32(b.1));
                rows[2] = vcombine_f32(vget_high_f32(a.0), vget_high_f32(b.0));
                rows[3] = vcombine_f32(vget_high_f32(a.1), vget_high_f32(b.1));
            }
        }
    );
}
#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

/// Compiles a kernel for every instruction set and calls the one it is given:
/// `dispatch! { /// doc  pub(super) fn name(argument: Type) = kernel }`, where `kernel` is `fn<S: Simd>(S, Type)`. Where a
/// kernel has a constant as well: `fn name<const N: usize>(argument: Type) = kernel::<_, N>`.
macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<const $n:ident: usize>)? ($($arg:ident: $ty:ty),* $(,)?) = $kernel:expr) => {
        $(#[$doc])*
        $vis fn $name $(<const $n: usize>)? (isa: $crate::fused::simd::Isa, $($arg: $ty),*) {
            use $crate::fused::simd::{self, Isa};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn avx512 $(<const $n: usize>)? ($($arg: $ty),*) {
                // SAFETY: inside a function with the instruction set.
                ($kernel)(unsafe { simd::Avx512::assume() }, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<const $n: usize>)? ($($arg: $ty),*) {
                // SAFETY: inside a function with the instruction set.
                ($kernel)(unsafe { simd::Avx2::assume() }, $($arg),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            fn neon $(<const $n: usize>)? ($($arg: $ty),*) {
                // SAFETY: inside a function with the instruction set.
                ($kernel)(unsafe { simd::Neon::assume() }, $($arg),*)
            }
            match isa {
                // SAFETY: an `Isa` is one that the CPU has; so below.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512 $(::<$n>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2 $(::<$n>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => unsafe { neon $(::<$n>)? ($($arg),*) },
                Isa::Portable => ($kernel)(simd::Portable, $($arg),*),
            }
        }
    };
}
pub(super) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    dispatch! {
        fn round_trip(values: &[f32], transposed: &mut [f32]) = round_trip_kernel
    }

    #[inline(always)]
    fn round_trip_kernel<S: Simd>(simd: S, values: &[f32], transposed: &mut [f32]) {
        let mut rows = [simd.zero(); 16];
        for count in 0..=S::LANES {
            for (i, row) in rows.iter_mut().take(S::LANES).enumerate() {
                // SAFETY: both are 16 × 16.
                *row = unsafe { simd.load_first(values.as_ptr().add(i * 16), count) };
            }
            simd.transpose(&mut rows);
            for (i, row) in rows.iter().take(S::LANES).enumerate() {
                // SAFETY: as above.
                unsafe { simd.store_first::<true>(transposed.as_mut_ptr().add(i * 16), *row, S::LANES) };
            }
        }
    }

    /// Column j is in the first `count` of a row for LANES − j counts.
    #[test]
    fn matrices_are_transposed_and_parts_of_vectors_left_alone() {
        let values: Vec<f32> = (0..256).map(|k| k as f32).collect();
        for isa in Isa::available() {
            let (mut transposed, lanes) = ([0.5; 256], isa.lanes());
            round_trip(isa, &values, &mut transposed);
            for (k, value) in transposed.into_iter().enumerate() {
                let (i, j) = (k / 16, k % 16);
                let times = if i < lanes && j < lanes { lanes - i } else { 0 };
                assert_eq!(value, 0.5 + (times * (j * 16 + i)) as f32, "{isa:?} {i} {j}");
            }
        }
    }
}
