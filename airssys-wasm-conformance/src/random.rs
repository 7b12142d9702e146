//! Random numbers from a seed that a failure prints.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable that repeats a run: set it to the seed that the failure printed.
const SEED: &str = "AIRSSYS_WASM_SEED";

/// A sequence of numbers that its seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub(crate) const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed of its own for each run, or the one that the environment asks for.
    pub(crate) fn seed() -> u64 {
        let asked = env::var(SEED).ok().and_then(|text| text.parse().ok());
        asked.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(20)
        })
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    /// That many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number().to_le_bytes()[3]).collect()
    }
}
