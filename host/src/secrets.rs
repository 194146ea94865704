//! Where secrets come from: the system, always. No flag, file or seed reaches this. Knows nothing of what they
//! are for.

use tidegate_media::io::Secrets;

/// The operating system's source, through the crypto library.
pub(crate) struct SystemSecrets;

impl Secrets for SystemSecrets {
    /// # Panics
    /// Where the system gives no randomness: nothing may go on without.
    fn fill(&mut self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the system gives randomness");
    }
}

/// A seed for chance that is not secret.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0; 8];
    SystemSecrets.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
