//! Sizes as people write them.
//!
//! Grammar: a decimal number, a fraction if wanted, and a suffix if wanted. Suffixes are powers of
//! 1024: `K`, `M`, `G`, `T`, `P`, each also as `KiB` and so on; `B` or nothing is bytes. Letters may
//! be small. `KB` and its like are refused, as half of the world reads them as powers of 1000.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ByteSize(pub u64);

/// Suffix letters, each 1024 times the one before.
const LETTERS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];

/// Digits after the point that are read, enough for any exact fraction that people write.
const MAX_FRACTION_DIGITS: usize = 12;

/// Why a text is not a size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SizeError {
    /// Not a number with a known suffix.
    #[error("`{text}` is not a size: write a number and a suffix, such as 512M, 20G or 1.5T")]
    Syntax {
        /// What was written.
        text: String,
    },
    /// `KB`, `MB` and the like.
    #[error("`{text}` could mean powers of 1000 or 1024: write {number}{letter} (powers of 1024)")]
    Ambiguous {
        /// What was written.
        text: String,
        /// Its number.
        number: String,
        /// Its first suffix letter.
        letter: char,
    },
    /// A fraction that does not end on a byte.
    #[error("`{text}` is not a whole number of bytes: use fewer digits or a smaller suffix")]
    Fraction {
        /// What was written.
        text: String,
    },
    /// More than 64 bits of bytes.
    #[error("`{text}` is too large: sizes end at 16384P")]
    Overflow {
        /// What was written.
        text: String,
    },
}

impl ByteSize {
    /// `count` KiB.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// `count` GiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The exact number as it could be written in the file: the largest suffix that leaves a whole
    /// number.
    #[must_use]
    pub fn written(self) -> String {
        let step = (self.0.trailing_zeros() / 10).min(LETTERS.len() as u32);
        match step {
            _ if self.0 == 0 => "0".to_owned(),
            0 => self.0.to_string(),
            step => format!("{}{}", self.0 >> (10 * step), LETTERS[step as usize - 1]),
        }
    }

    /// Rounds up to a multiple of `unit`; at the end of the range, down to the last one.
    #[must_use]
    pub fn round_up(self, unit: Self) -> Self {
        Self(self.0.checked_next_multiple_of(unit.0).unwrap_or(u64::MAX / unit.0 * unit.0))
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let syntax = || SizeError::Syntax { text: text.to_owned() };
        let overflow = || SizeError::Overflow { text: text.to_owned() };
        let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(number_len);
        let shift = suffix_shift(text, number, suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(syntax());
        }
        if fraction.len() > MAX_FRACTION_DIGITS {
            return Err(SizeError::Fraction { text: text.to_owned() });
        }
        let whole: u128 = whole.parse::<u64>().map_err(|_| overflow())?.into();
        let scale = 10u128.pow(fraction.len() as u32);
        let fraction: u128 = fraction.parse::<u64>().map_err(|_| syntax())?.into();
        let scaled = (whole * scale + fraction) << shift;
        if !scaled.is_multiple_of(scale) {
            return Err(SizeError::Fraction { text: text.to_owned() });
        }
        u64::try_from(scaled / scale).map(Self).map_err(|_| overflow())
    }
}

/// The power of two that a suffix stands for.
fn suffix_shift(text: &str, number: &str, suffix: &str) -> Result<u32, SizeError> {
    let mut chars = suffix.chars().map(|c| c.to_ascii_uppercase());
    let Some(letter) = chars.next() else { return Ok(0) };
    let rest: String = chars.collect();
    if letter == 'B' && rest.is_empty() {
        return Ok(0);
    }
    let step = LETTERS.iter().position(|&known| known == letter);
    match (step, rest.as_str()) {
        (Some(step), "" | "IB") => Ok(10 * (step as u32 + 1)),
        (Some(_), "B") => {
            Err(SizeError::Ambiguous { text: text.to_owned(), number: number.to_owned(), letter })
        }
        _ => Err(SizeError::Syntax { text: text.to_owned() }),
    }
}

impl fmt::Display for ByteSize {
    /// The largest suffix that leaves a number of at least 1: exact where the number is whole,
    /// otherwise rounded to two digits after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = (self.0.checked_ilog2().unwrap_or(0) / 10).min(LETTERS.len() as u32);
        if step == 0 {
            return f.pad(&format!("{} B", self.0));
        }
        let letter = LETTERS[step as usize - 1];
        let unit = 1u64 << (10 * step);
        if self.0.is_multiple_of(unit) {
            return f.pad(&format!("{} {letter}iB", self.0 / unit));
        }
        let hundredths = (u128::from(self.0) * 100 + u128::from(unit) / 2) / u128::from(unit);
        f.pad(&format!("{}.{:02} {letter}iB", hundredths / 100, hundredths % 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<u64, SizeError> {
        text.parse::<ByteSize>().map(|size| size.0)
    }

    #[test]
    fn suffixes_are_powers_of_1024() {
        for (text, bytes) in [
            ("4096", 4096),
            ("0", 0),
            ("7B", 7),
            ("20G", 20 << 30),
            ("20g", 20 << 30),
            ("512MiB", 512 << 20),
            ("1T", 1 << 40),
            ("2PiB", 2 << 50),
            ("1.5G", 3 << 29),
            ("0.25k", 256),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_its_reason() {
        for text in ["", "G", "x", "-1G", "1 G", "1..5G", ".5G", "1.G", "1GG", "1iB", "1Gi", "٣G"]
        {
            assert!(matches!(parse(text), Err(SizeError::Syntax { .. })), "{text}");
        }
        assert!(matches!(parse("10GB"), Err(SizeError::Ambiguous { letter: 'G', .. })));
        assert!(matches!(parse("1.3"), Err(SizeError::Fraction { .. })));
        assert!(matches!(parse("1.0000000000001G"), Err(SizeError::Fraction { .. })));
        for text in ["18446744073709551616", "16384P", "99999999999999999999999"] {
            assert!(matches!(parse(text), Err(SizeError::Overflow { .. })), "{text}");
        }
    }

    #[test]
    fn sizes_print_with_the_largest_fitting_suffix() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4 KiB"),
            (3 << 29, "1.50 GiB"),
            (20 << 30, "20 GiB"),
            (u64::MAX, "16384.00 PiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn what_is_written_reads_back_exactly() {
        for (bytes, text) in [(0, "0"), (1023, "1023"), (3 << 29, "1536M"), (1 << 60, "1024P")] {
            assert_eq!(ByteSize(bytes).written(), text);
            assert_eq!(parse(text), Ok(bytes));
        }
    }

    #[test]
    fn rounding_up_never_leaves_the_range() {
        assert_eq!(ByteSize(1).round_up(ByteSize::kib(4)), ByteSize::kib(4));
        assert_eq!(ByteSize(u64::MAX).round_up(ByteSize::kib(4)), ByteSize(u64::MAX - 4095));
    }
}
