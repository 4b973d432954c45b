//! AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::Simd;

instruction_set!(
    /// AVX2 and FMA: Intel since 2013, AMD since 2015.
    Avx2, __m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps,
    { add: _mm256_add_ps, sub: _mm256_sub_ps, mul: _mm256_mul_ps, max: _mm256_max_ps },
    fma: |a, b, c| _mm256_fmadd_ps(a, b, c),
    select_gt: |a, b, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)),
    #[inline(always)]
    fn transpose(self, rows: &mut [Self::V; 16]) {
        let r: [__m256; 8] = std::array::from_fn(|i| rows[i]);
        // SAFETY: as for `splat`.
        unsafe {
            // Within halves: pairs of rows, then fours; then the halves change places.
            let low: [__m256; 4] = std::array::from_fn(|i| _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]));
            let high: [__m256; 4] = std::array::from_fn(|i| _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]));
            let fours = [
                _mm256_shuffle_ps::<0x44>(low[0], low[1]),
                _mm256_shuffle_ps::<0xee>(low[0], low[1]),
                _mm256_shuffle_ps::<0x44>(high[0], high[1]),
                _mm256_shuffle_ps::<0xee>(high[0], high[1]),
                _mm256_shuffle_ps::<0x44>(low[2], low[3]),
                _mm256_shuffle_ps::<0xee>(low[2], low[3]),
                _mm256_shuffle_ps::<0x44>(high[2], high[3]),
                _mm256_shuffle_ps::<0xee>(high[2], high[3]),
            ];
            for i in 0..4 {
                rows[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
                rows[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_first(self, at: *const f32, count: usize) -> Self::V {
        // SAFETY: as for `load`, of the floats in the mask only.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_maskload_ps(at, _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes))
        }
    }
    #[inline(always)]
    unsafe fn store_first<const ADD: bool>(self, at: *mut f32, v: Self::V, count: usize) {
        // SAFETY: as for `load` and `store`, of the floats in the mask only.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes);
            let v = if ADD { _mm256_add_ps(_mm256_maskload_ps(at, mask), v) } else { v };
            _mm256_maskstore_ps(at, mask, v);
        }
    }
);
instruction_set!(
    /// AVX-512 F.
    Avx512, __m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps,
    { add: _mm512_add_ps, sub: _mm512_sub_ps, mul: _mm512_mul_ps, max: _mm512_max_ps },
    fma: |a, b, c| _mm512_fmadd_ps(a, b, c),
    select_gt: |a, b, yes, no| _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), no, yes),
    #[inline(always)]
    fn transpose(self, rows: &mut [Self::V; 16]) {
        // SAFETY: as for `splat`.
        unsafe {
            // Within quarters: pairs of rows, then fours; then the quarters change places, twice.
            let r = *rows;
            let pairs: [__m512; 16] = std::array::from_fn(|i| {
                let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
                if i % 2 == 0 { _mm512_unpacklo_ps(a, b) } else { _mm512_unpackhi_ps(a, b) }
            });
            let fours: [__m512; 16] = std::array::from_fn(|i| {
                let (a, b) = (pairs[i / 4 * 4 + i % 4 / 2], pairs[i / 4 * 4 + i % 4 / 2 + 2]);
                if i % 2 == 0 { _mm512_shuffle_ps::<0x44>(a, b) } else { _mm512_shuffle_ps::<0xee>(a, b) }
            });
            let eights: [__m512; 16] = std::array::from_fn(|i| {
                let (a, b) = (fours[i / 8 * 8 + i % 4], fours[i / 8 * 8 + i % 4 + 4]);
                match i % 8 / 4 {
                    0 => _mm512_shuffle_f32x4::<0x88>(a, b),
                    _ => _mm512_shuffle_f32x4::<0xdd>(a, b),
                }
            });
            for i in 0..8 {
                rows[i] = _mm512_shuffle_f32x4::<0x88>(eights[i], eights[i + 8]);
                rows[i + 8] = _mm512_shuffle_f32x4::<0xdd>(eights[i], eights[i + 8]);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_first(self, at: *const f32, count: usize) -> Self::V {
        // SAFETY: as for `load`, of the floats in the mask only.
        unsafe { _mm512_maskz_loadu_ps(((1_u32 << count) - 1) as u16, at) }
    }
    #[inline(always)]
    unsafe fn store_first<const ADD: bool>(self, at: *mut f32, v: Self::V, count: usize) {
        let mask = ((1_u32 << count) - 1) as u16;
        // SAFETY: as for `load` and `store`, of the floats in the mask only.
        unsafe {
            let v = if ADD { _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), v) } else { v };
            _mm512_mask_storeu_ps(at, mask, v);
        }
    }
);
