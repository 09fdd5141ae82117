//! Random numbers that a run can repeat.

/// A linear congruential generator (Knuth's MMIX).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Takes the seed from the environment or the clock, and prints it.
    pub(crate) fn seeded() -> Self {
        let now = std::time::SystemTime::now();
        let seed = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64;
        let seed = std::env::var("PROCESSION_SEED").map_or(seed, |text| text.parse().unwrap());
        eprintln!("PROCESSION_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub(crate) fn choose<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
