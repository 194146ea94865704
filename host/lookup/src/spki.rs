//! Public keys as JWK (RFC 7517, RFC 7518 section 6) turned into SubjectPublicKeyInfo (RFC 5280). Knows nothing of
//! where keys come from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// What a JWK says that matters here; a private one's other fields are never read.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    pub(crate) kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// What a key serves, and the key itself.
pub(crate) struct PublicKey {
    /// As in RFC 7518.
    pub(crate) algorithm: &'static str,
    /// SubjectPublicKeyInfo in DER.
    pub(crate) spki: Vec<u8>,
}

/// 1.2.840.113549.1.1.1 (rsaEncryption) with a NULL.
const RSA: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
/// 1.2.840.10045.2.1 (ecPublicKey) with 1.2.840.10045.3.1.7 (prime256v1).
const P256: [u8; 21] =
    [0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// The largest modulus, in bytes: 8,192 bits.
const MODULUS_BYTES: usize = 1_024;

impl Jwk {
    /// A key that signs tokens by RS256 or ES256; `None` for any other. A key serves one algorithm only, whatever a
    /// token says.
    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let serves = |algorithm: &str| self.alg.as_deref().is_none_or(|alg| alg == algorithm);
        match self.kty.as_str() {
            "RSA" if signs && serves("RS256") => Some(PublicKey { algorithm: "RS256", spki: self.rsa()? }),
            "EC" if signs && serves("ES256") && self.crv.as_deref() == Some("P-256") => {
                Some(PublicKey { algorithm: "ES256", spki: self.p256()? })
            }
            _ => None,
        }
    }

    fn rsa(&self) -> Option<Vec<u8>> {
        let modulus = decoded(self.n.as_deref()?).filter(|n| n.len() <= MODULUS_BYTES)?;
        let exponent = decoded(self.e.as_deref()?).filter(|e| e.len() <= 8)?;
        let key = tagged(0x30, &[number(&modulus)?, number(&exponent)?].concat());
        Some(tagged(0x30, &[RSA.as_slice(), &bits(&key)].concat()))
    }

    fn p256(&self) -> Option<Vec<u8>> {
        let coordinate = |text: &Option<String>| decoded(text.as_deref()?).filter(|bytes| bytes.len() == 32);
        let point = [vec![4], coordinate(&self.x)?, coordinate(&self.y)?].concat();
        Some(tagged(0x30, &[P256.as_slice(), &bits(&point)].concat()))
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A BIT STRING without unused bits.
fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(3, &[&[0], bytes].concat())
}

/// A positive INTEGER, in as few bytes as can be.
fn number(bytes: &[u8]) -> Option<Vec<u8>> {
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let sign: &[u8] = if bytes[first] >= 0x80 { &[0] } else { &[] };
    Some(tagged(2, &[sign, &bytes[first..]].concat()))
}

/// X.690, section 8.1; nothing here has more than 65,535 bytes.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let length: &[u8] = match content.len() {
        0..=0x7f => &[low],
        0x80..=0xff => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, content].concat()
}

#[cfg(test)]
mod tests {
    use super::{Jwk, URL_SAFE_NO_PAD};
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaKeyPair};
    use base64::Engine as _;
    use serde_json::{Value, json};

    fn key(jwk: Value) -> Option<(&'static str, Vec<u8>)> {
        let jwk: Jwk = serde_json::from_value(jwk).expect("a JWK");
        jwk.public_key().map(|key| (key.algorithm, key.spki))
    }

    fn ec() -> (Value, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let point = pair.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) });
        (jwk, pair.public_key().as_der().expect("DER").as_ref().to_vec())
    }

    #[test]
    fn keys_come_out_as_another_library_writes_them() {
        let (jwk, der) = ec();
        assert_eq!(key(jwk), Some(("ES256", der)));
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let public = pair.public_key();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // RFC 8017, appendix A.1.1: a sequence of two numbers, of 257 and 3 bytes.
        let (modulus, exponent) = (&public.as_ref()[9..265], &public.as_ref()[267..]);
        let jwk = json!({ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "x",
            "n": text(modulus), "e": text(exponent) });
        assert_eq!(key(jwk), Some(("RS256", public.as_der().expect("DER").as_ref().to_vec())));
    }

    #[test]
    fn what_signs_no_token_in_a_way_that_is_taken_is_left_out() {
        let with = |field: &str, value: Value| {
            let (mut jwk, _) = ec();
            jwk[field] = value;
            key(jwk)
        };
        assert!(with("use", json!("sig")).is_some() && with("key_ops", json!(["verify"])).is_some());
        for (field, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["encrypt"])),
            ("alg", json!("RS256")),
            ("alg", json!("none")),
            ("crv", json!("P-384")),
            ("x", json!("AAAA")),
            ("y", json!("?")),
            ("kty", json!("oct")),
            ("kty", json!("OKP")),
        ] {
            assert_eq!(with(field, value.clone()), None, "{field} {value}");
        }
        assert_eq!(key(json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" })), None);
        assert_eq!(key(json!({ "kty": "RSA", "n": "", "e": "AQAB" })), None);
        assert_eq!(key(json!({ "kty": "RSA", "n": "A".repeat(2_000), "e": "AQAB" })), None);
    }
}
