//! Seeds turned over, without libFuzzer and without a sanitizer: what every run of the tests can afford. `KSHOT_FUZZ=1000000` for
//! more of each; the name of a parser, behind `cargo test`'s `--`, for it alone.

use std::time::{Duration, Instant};

use kshot_fuzz::{PARSERS, parser, seeds};

/// Marsaglia's xorshift.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// Numbers that parsers stumble over.
const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 60, u64::MAX];

fn mutated(seed: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + draw.below(4) {
        let at = draw.below(bytes.len());
        match draw.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << draw.below(8),
            1 if !bytes.is_empty() => bytes[at] = draw.below(256) as u8,
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + draw.below(16)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => drop(bytes.drain(at..(at + 1 + draw.below(16)).min(bytes.len()))),
            _ => {
                let number = NUMBERS[draw.below(NUMBERS.len())].to_le_bytes();
                let end = (at + [2, 4, 8][draw.below(3)]).min(bytes.len());
                let length = end - at;
                bytes[at..end].copy_from_slice(&number[..length]);
            }
        }
    }
    bytes
}

#[test]
fn what_is_turned_over_is_read_as_it_is() {
    // Omniglot's characters are counted before a drawing is looked at, and 1,623 are no seed.
    let mut refused = Vec::new();
    for parser in PARSERS.iter().filter(|parser| parser.name != "omniglot") {
        for (number, seed) in seeds(parser.name).iter().enumerate() {
            if let Err(error) = parser.read(seed) {
                refused.push(format!("seed {number} of `{}`: {error}", parser.name));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// Whatever its bytes, a file is read or refused; the longest that took is told.
fn turned_over(name: &str) {
    let count = std::env::var("KSHOT_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(2000);
    let (parser, seeds) = (parser(name), seeds(name));
    let (mut draw, mut longest) = (Draw(1), Duration::ZERO);
    for number in 0..count {
        let bytes = mutated(&seeds[number % seeds.len()], &mut draw);
        let begun = Instant::now();
        drop(parser.read(&bytes));
        longest = longest.max(begun.elapsed());
    }
    println!("{name}: {count} inputs of {} seeds, the longest {longest:.1?}", seeds.len());
}

macro_rules! turned_over {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            turned_over(stringify!($name));
        })+

        #[test]
        fn every_parser_is_turned_over() {
            let parsers: Vec<&str> = PARSERS.iter().map(|parser| parser.name).collect();
            assert_eq!(parsers, [$(stringify!($name)),+]);
        }
    };
}

turned_over! {
    npy npz mat csv zip tar image list idx drawings omniglot tep cwru cifar office digits checkpoint manifest store split
}
