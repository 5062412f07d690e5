//! All chance of a timeline, from one number.

/// SplitMix64: small, fast, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// `stream` keeps the chances of one seed apart: what the world does must not shift what the story tells.
    pub fn of(seed: u64, stream: u64) -> Self {
        let mut chance = Self(seed ^ stream.wrapping_mul(0xA076_1D64_78BD_642F));
        chance.next();
        chance.next();
        chance
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The state, for a digest of the timeline.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// From 0 to below `end`; `end` is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From `least` to `most`, both possible.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True in `in_10_000` of 10,000 cases.
    pub fn happens(&mut self, in_10_000: u32) -> bool {
        in_10_000 > 0 && self.below(10_000) < u64::from(in_10_000)
    }

    pub fn percent(&mut self, percent: u32) -> bool {
        self.happens(percent * 100)
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }
}
