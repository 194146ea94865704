//! Signature checks for policies. Knows nothing of tokens: what is signed, and what it means, is the policy's.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest message: a host function cannot be interrupted, so it must be short.
const MESSAGE_BYTES: usize = 65_536;
/// The longest key, in bytes; an RSA key of 8,192 bits takes 1.5 KB as PEM.
const KEY_BYTES: usize = 8_192;
/// The most public keys that are kept as they were read; as many as the stock policy takes. One more is read anew each
/// time that it comes after all the others.
const KEYS: usize = 16;

/// Why a signature could not be checked; the codes of `host-crypto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CryptoError {
    #[error("unknown-algorithm")]
    UnknownAlgorithm,
    #[error("bad-key")]
    BadKey,
    #[error("too-large")]
    TooLarge,
}

/// Public keys that were read lately, the last one first: reading one costs a good part of a check.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<VecDeque<Known>>);

/// One key: as it was given, and as it was read.
#[derive(Debug)]
struct Known {
    algorithm: String,
    given: Vec<u8>,
    read: Arc<ParsedPublicKey>,
}

impl Keys {
    /// Is `signature` one of `message` under `key`? Algorithms are named as in RFC 7518.
    pub(crate) fn verify(
        &self,
        algorithm: &str,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        if message.len() > MESSAGE_BYTES || key.len() > KEY_BYTES || signature.len() > KEY_BYTES {
            return Err(CryptoError::TooLarge);
        }
        let public = |kind: &'static dyn VerificationAlgorithm| {
            Ok(self.read(algorithm, kind, key)?.verify_sig(message, signature).is_ok())
        };
        match algorithm {
            "HS256" => hs256(key, message, signature),
            "RS256" => public(&RSA_PKCS1_2048_8192_SHA256),
            "ES256" => public(&ECDSA_P256_SHA256_FIXED),
            _ => Err(CryptoError::UnknownAlgorithm),
        }
    }

    /// The key, which is kept for the next time if it is one.
    fn read(
        &self,
        algorithm: &str,
        kind: &'static dyn VerificationAlgorithm,
        given: &[u8],
    ) -> Result<Arc<ParsedPublicKey>, CryptoError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|key| key.algorithm == algorithm && key.given == given);
        if let Some(key) = at.and_then(|at| known.remove(at)) {
            let read = key.read.clone();
            known.push_front(key);
            return Ok(read);
        }
        let read = Arc::new(public_key(kind, given)?);
        known.truncate(KEYS - 1);
        known.push_front(Known {
            algorithm: algorithm.to_owned(),
            given: given.to_vec(),
            read: read.clone(),
        });
        Ok(read)
    }
}

fn hs256(key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    if key.is_empty() {
        return Err(CryptoError::BadKey);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    Ok(hmac::verify(&key, message, signature).is_ok())
}

/// From SPKI, as DER or PEM.
fn public_key(
    kind: &'static dyn VerificationAlgorithm,
    given: &[u8],
) -> Result<ParsedPublicKey, CryptoError> {
    let decoded = given.starts_with(b"-----").then(|| pem(given).ok_or(CryptoError::BadKey)).transpose()?;
    ParsedPublicKey::new(kind, decoded.as_deref().unwrap_or(given)).map_err(|_| CryptoError::BadKey)
}

/// The bytes of a `PUBLIC KEY` (RFC 7468).
fn pem(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let body = text.split_once("-----BEGIN PUBLIC KEY-----")?.1.split_once("-----END PUBLIC KEY-----")?.0;
    base64(body.bytes().filter(|byte| !byte.is_ascii_whitespace()))
}

/// RFC 4648, section 4.
fn base64(text: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in text.take_while(|byte| *byte != b'=') {
        bits = (bits << 6) | u32::from(base64_digit(digit)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
        bits &= (1 << held) - 1;
    }
    (held < 6).then_some(bytes)
}

const fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{CryptoError, KEYS, Keys, base64};
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    };

    fn verify(algorithm: &str, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
        Keys::default().verify(algorithm, key, message, signature)
    }

    /// The example of RFC 7515, appendix A.1.
    #[test]
    fn hs256_agrees_with_the_rfc() {
        let url = |text: &str| base64(text.replace('-', "+").replace('_', "/").bytes()).expect("base64");
        let key =
            url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODA\
                       sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mut signature = url("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(verify("HS256", &key, message.as_bytes(), &signature), Ok(true));
        signature[0] ^= 1;
        assert_eq!(verify("HS256", &key, message.as_bytes(), &signature), Ok(false));
    }

    fn as_pem(der: &[u8]) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = der.chunks(3).flat_map(|chunk| {
            let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
            let word = word << (8 * (3 - chunk.len()));
            let digit = move |index: usize| DIGITS[(word >> (18 - 6 * index)) as usize & 63];
            (0..=chunk.len()).map(digit)
        });
        let mut pem = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
        for (index, digit) in digits.enumerate() {
            if index % 64 == 63 {
                pem.push(b'\n');
            }
            pem.push(digit);
        }
        pem.extend_from_slice(b"\n-----END PUBLIC KEY-----\n");
        pem
    }

    fn der_of(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
        key.as_der().expect("a key as DER").as_ref().to_vec()
    }

    fn verifies(algorithm: &str, der: &[u8], message: &[u8], signature: &[u8]) {
        for key in [der.to_vec(), as_pem(der)] {
            assert_eq!(verify(algorithm, &key, message, signature), Ok(true));
            assert_eq!(verify(algorithm, &key, b"another", signature), Ok(false));
            assert_eq!(verify(algorithm, &key, message, &signature[1..]), Ok(false));
            assert_eq!(verify(algorithm, &key[1..], message, signature), Err(CryptoError::BadKey));
        }
    }

    #[test]
    fn es256_and_rs256_take_keys_as_der_and_as_pem() {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair");
        let signature = ec.sign(&random, b"message").expect("a signature");
        verifies("ES256", &der_of(ec.public_key()), b"message", signature.as_ref());

        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key pair");
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, b"message", &mut signature).expect("a signature");
        verifies("RS256", &der_of(rsa.public_key()), b"message", &signature);
    }

    #[test]
    fn what_cannot_be_checked_is_told_apart_from_a_wrong_signature() {
        assert_eq!(verify("none", b"k", b"m", b""), Err(CryptoError::UnknownAlgorithm));
        assert_eq!(verify("HS256", b"", b"m", b""), Err(CryptoError::BadKey));
        assert_eq!(verify("RS256", b"-----BEGIN", b"m", b""), Err(CryptoError::BadKey));
        assert_eq!(verify("HS256", b"k", &[0; 65_537], b""), Err(CryptoError::TooLarge));
    }

    #[test]
    fn a_key_that_was_read_is_the_same_key_and_old_ones_go() {
        let keys = Keys::default();
        let random = SystemRandom::new();
        let known = || keys.0.lock().expect("no panic").len();
        let signed = |pair: &EcdsaKeyPair| pair.sign(&random, b"message").expect("a signature");
        let pairs: Vec<EcdsaKeyPair> = (0..=KEYS)
            .map(|_| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair"))
            .collect();
        let ders: Vec<Vec<u8>> = pairs.iter().map(|pair| der_of(pair.public_key())).collect();
        for _ in 0..3 {
            for (index, (pair, der)) in pairs.iter().zip(&ders).enumerate() {
                let other = signed(&pairs[(index + 1) % pairs.len()]);
                assert_eq!(keys.verify("ES256", der, b"message", signed(pair).as_ref()), Ok(true));
                assert_eq!(keys.verify("ES256", der, b"message", other.as_ref()), Ok(false));
                assert!(known() <= KEYS, "{}", known());
            }
        }
        // A key is one for its algorithm only, and what is none is not kept.
        assert_eq!(keys.verify("RS256", &ders[KEYS], b"message", b""), Err(CryptoError::BadKey));
        assert_eq!(known(), KEYS);
    }
}
