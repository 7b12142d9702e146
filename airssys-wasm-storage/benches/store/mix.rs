//! Mixes of operations after YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", 2010).

/// One of the six.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    A,
    B,
    C,
    D,
    E,
    F,
}

/// An operation, on the record of a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Read(u64),
    /// So many records from this one on.
    Scan(u64, usize),
    Write(u64),
    /// Read, then write what depends on it.
    Change(u64),
}

/// How uneven the choice of records is: the constant of YCSB.
const SKEW: f64 = 0.99;
/// The longest scan.
const MAX_SCAN: u64 = 100;

impl Mix {
    pub(crate) const ALL: [Self; 6] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::A => "YCSB A: 50 % reads, 50 % writes",
            Self::B => "YCSB B: 95 % reads, 5 % writes",
            Self::C => "YCSB C: reads",
            Self::D => "YCSB D: 95 % reads of the latest, 5 % inserts",
            Self::E => "YCSB E: 95 % scans of 1 to 100, 5 % inserts",
            Self::F => "YCSB F: 50 % reads, 50 % read and write",
        }
    }

    /// The steps on so many records, the same at every call.
    pub(crate) fn steps(self, records: u64) -> impl Iterator<Item = Step> {
        let mut random = Random(7);
        let weights: Vec<f64> = (1..=records)
            .scan(0.0, |sum, rank| {
                *sum += (rank as f64).powf(-SKEW);
                Some(*sum)
            })
            .collect();
        let mut records = records;
        std::iter::repeat_with(move || {
            let whole = weights.last().copied().unwrap_or_default();
            let at = random.below(1 << 53) as f64 / (1_u64 << 53) as f64 * whole;
            let rank = weights.partition_point(|sum| *sum <= at).min(weights.len() - 1) as u64;
            let often = random.below(100);
            let mut insert = || {
                records += 1;
                records - 1
            };
            match self {
                Self::A if often < 50 => Step::Write(rank),
                Self::B if often < 5 => Step::Write(rank),
                Self::D if often < 5 => Step::Write(insert()),
                Self::D => Step::Read(records - 1 - rank),
                Self::E if often < 5 => Step::Write(insert()),
                Self::E => Step::Scan(rank, 1 + random.below(MAX_SCAN) as usize),
                Self::F if often < 50 => Step::Change(rank),
                Self::A | Self::B | Self::C | Self::F => Step::Read(rank),
            }
        })
    }
}

/// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(bound)) >> 64) as u64
    }
}
