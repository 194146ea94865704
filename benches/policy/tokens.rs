//! Signed tokens (RFC 7519), their keys, and who asks to enter with one. Knows nothing of policies.

use crate::plugins::UNIX_MS;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{hmac, signature};
use serde_json::{Value, json};
use tidegate_types::Secret;
use tidegate_types::decision::{Action, AuthorizeRequest, Moment};

const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a native policy checks a signature with.
pub enum Key {
    Shared(hmac::Key),
    Public(signature::ParsedPublicKey),
}

impl Key {
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Shared(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// A token, and who may check it.
pub struct Signed {
    pub algorithm: &'static str,
    pub token: String,
    pub key: Key,
    /// The same key, as `auth-token` is configured with it.
    pub configuration: Value,
}

/// One of about 500 bytes and its signature, by one of three algorithms (RFC 7518).
pub fn signed(algorithm: &'static str) -> Signed {
    let message = message(algorithm);
    let random = SystemRandom::new();
    let (signature, key, configured) = match algorithm {
        "HS256" => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
            let tag = hmac::sign(&key, message.as_bytes()).as_ref().to_vec();
            (tag, Key::Shared(key), KEY.to_vec())
        }
        "RS256" => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key pair");
            let mut signature = vec![0; pair.public_modulus_len()];
            let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature);
            signed.expect("a signature");
            let der = pair.public_key().as_der().expect("a key as DER").as_ref().to_vec();
            (signature, public(&signature::RSA_PKCS1_2048_8192_SHA256, &der), der)
        }
        "ES256" => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair");
            let signature = pair.sign(&random, message.as_bytes()).expect("a signature").as_ref().to_vec();
            let der = pair.public_key().as_der().expect("a key as DER").as_ref().to_vec();
            (signature, public(&signature::ECDSA_P256_SHA256_FIXED, &der), der)
        }
        other => panic!("no algorithm {other}"),
    };
    let configuration =
        json!({ "keys": [{ "alg": algorithm, "key_base64": padded(&encode(&configured, STANDARD)) }] });
    Signed { algorithm, token: format!("{message}.{}", encode(&signature, URL)), key, configuration }
}

fn public(algorithm: &'static dyn signature::VerificationAlgorithm, der: &[u8]) -> Key {
    Key::Public(signature::ParsedPublicKey::new(algorithm, der).expect("a public key"))
}

fn message(algorithm: &str) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT" }).to_string();
    let claims = json!({
        "sub": "ada",
        "room": "hello",
        "exp": UNIX_MS / 1_000 + 1_000_000_000,
        "note": "x".repeat(220),
    });
    format!("{}.{}", encode(header.as_bytes(), URL), encode(claims.to_string().as_bytes(), URL))
}

/// base64 without padding (RFC 4648).
fn encode(bytes: &[u8], digits: &[u8; 64]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        text.extend(
            (0..=chunk.len()).map(|index| char::from(digits[(word >> (18 - 6 * index)) as usize & 63])),
        );
    }
    text
}

fn padded(text: &str) -> String {
    format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4))
}

/// base64url without padding (RFC 7515, section 2).
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for byte in chunk {
            word = (word << 6) | u32::from(digit(*byte)?);
        }
        word <<= 6 * (4 - chunk.len());
        bytes.extend(word.to_be_bytes()[1..].iter().take(chunk.len() - 1));
    }
    Some(bytes)
}

/// Asks to enter with a token.
pub fn join(token: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        action: Action::Join,
        room: Some("hello".into()),
        room_people: 3,
        room_since_unix_ms: Some(UNIX_MS),
        name: "Ada Lovelace".into(),
        identity: None,
        token: Secret::new(token),
        address: Some([192, 0, 2, 1].into()),
        kind: None,
        source: None,
        moment: Moment { unix_ms: UNIX_MS, seed: 7 },
        lookups: vec![],
        attrs: vec![],
    }
}
