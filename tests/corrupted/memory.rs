//! The memory that a child shares with its parent, and random writes into it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// The mappings of this process whose name contains `name`, by their addresses.
pub(crate) fn mappings(name: &str) -> Vec<Range<u64>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps
        .lines()
        .filter(|line| line.contains(name) && line.contains("rw-s"));
    let range = |line: &str| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        address(from)..address(to)
    };
    shared.map(range).collect()
}

/// This process's memory, to be written without regard to its owner.
pub(crate) fn own_memory() -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/proc/self/mem");
    file.unwrap()
}

/// Overwrites all mappings whose name contains `name` by `byte`.
pub(crate) fn fill(name: &str, byte: u8) {
    let memory = own_memory();
    for range in mappings(name) {
        let bytes = vec![byte; (range.end - range.start) as usize];
        memory.write_all_at(&bytes, range.start).unwrap();
    }
}

/// How much memory of this process is in use, in bytes, without what it shares (`RssAnon`, `proc_pid_status(5)`).
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
    1024 * kib.parse::<u64>().unwrap()
}

/// A generator of random numbers (xorshift, George Marsaglia).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Writes `count` times a few random bytes to a random place of a mapping whose name contains `name`. Every second
/// write is to the first bytes of a mapping, where the counters and sleepers are.
pub(crate) fn scribble(name: &str, count: u64, random: &mut Random) {
    let memory = own_memory();
    let ranges = mappings(name);
    for _ in 0..count {
        let range = &ranges[random.below(ranges.len() as u64) as usize];
        let len = range.end - range.start;
        let reach = if random.below(2) == 0 {
            len
        } else {
            len.min(4096)
        };
        let bytes = match random.below(4) {
            0 => [0; 8],
            1 => [0xff; 8],
            2 => random.below(1000).to_ne_bytes(),
            _ => random.next().to_ne_bytes(),
        };
        let at = range.start + (random.below(reach - 8) & !3);
        let _ = memory.write_all_at(&bytes[..1 + random.below(8) as usize], at);
    }
}

/// Keeps the parent's terminal quiet: what a corrupted worker prints is noise.
pub(crate) fn be_quiet() {
    let _ = std::io::stdout().flush();
    std::panic::set_hook(Box::new(|_| {}));
}
