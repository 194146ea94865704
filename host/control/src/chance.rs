//! Unpredictable numbers and comparisons that tell nothing by their time. Knows nothing of what they guard.

use aws_lc_rs::{constant_time, digest, rand};

/// Unpredictable bytes. A system that has none cannot run anything safely.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// An unpredictable number.
pub(crate) fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}

/// Lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    std::array::from_fn(|index| digest.as_ref()[index])
}

/// Whether two secrets are equal; the time it takes depends on the length of what is given only.
pub(crate) fn same_secret(given: &str, kept: &str) -> bool {
    constant_time::verify_slices_are_equal(&hash(given.as_bytes()), &hash(kept.as_bytes())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::same_secret;

    #[test]
    fn secrets_are_equal_or_not_whatever_their_lengths() {
        assert!(same_secret("abc", "abc"));
        assert!(!same_secret("abc", "abd"));
        assert!(!same_secret("abc", ""));
        assert!(!same_secret("", "abc"));
    }
}
