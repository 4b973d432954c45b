//! Random streams: every draw in kshot comes from a stream that is a pure function of (seed, purpose, index).

use rand::SeedableRng;

/// The generator behind every stream: portable, counter-based, the same bits on every machine.
pub type Rng = rand_chacha::ChaCha8Rng;

/// The stream number `index` for `purpose` ("episode/train", "init", …) under `seed`.
///
/// The three together are the cipher's key, so streams are independent and any of them can be opened without
/// running through the others.
///
/// ```
/// use rand::RngCore;
/// let a = kshot_nn::rng::stream(1, "init", 0).next_u64();
/// assert_eq!(a, kshot_nn::rng::stream(1, "init", 0).next_u64());
/// assert_ne!(a, kshot_nn::rng::stream(1, "init", 1).next_u64());
/// ```
pub fn stream(seed: u64, purpose: &str, index: u64) -> Rng {
    // FNV-1a, 64 bits: the purpose as a number.
    let purpose = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut key = [0u8; 32];
    for (slot, word) in key.chunks_exact_mut(8).zip([seed, purpose, index, 0x6b73_686f_7400_0001]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    Rng::from_seed(key)
}
