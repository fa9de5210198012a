//! Whether compressing some bytes is worth a try: what is encrypted or compressed already costs as
//! much time as anything else, and gives nothing.

/// Bytes that are looked at.
const SAMPLE_BYTES: usize = 4096;

/// Bytes that are looked at side by side.
const SAMPLE_RUN: usize = 64;

/// Bits for each byte of the sample above which the whole is taken for noise: a sample of so many
/// bytes of noise has 7.95, programs and texts have 4 to 6.5.
const MOST_BITS: f32 = 7.8;

/// Whether a sample of the bytes is less than noise. Bytes that repeat themselves at a distance
/// and are noise otherwise are not found out, which costs space and nothing else.
pub(super) fn is_worth_trying(bytes: &[u8]) -> bool {
    let runs = SAMPLE_BYTES / SAMPLE_RUN;
    let step = (bytes.len() / runs).max(SAMPLE_RUN);
    let mut counts = [0u16; 256];
    let mut seen = 0u16;
    for run in bytes.chunks(step).take(runs) {
        for byte in &run[..run.len().min(SAMPLE_RUN)] {
            counts[usize::from(*byte)] += 1;
            seen += 1;
        }
    }
    let total = f32::from(seen);
    let bits: f32 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f32::from(*count) * (total / f32::from(*count)).log2())
        .sum();
    bits < MOST_BITS * total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_not_tried_and_text_is() {
        let text = "a line of text that says little, again and again\n".repeat(2000);
        for bytes in [4096, 8192, 65536] {
            assert!(!is_worth_trying(&noise(bytes)), "{bytes}");
            assert!(is_worth_trying(&text.as_bytes()[..bytes]), "{bytes}");
        }
    }

    #[test]
    fn a_frame_that_is_half_noise_is_tried() {
        let mut half = noise(65536);
        half[32768..].fill(7);
        assert!(is_worth_trying(&half));
    }
}
