//! SRTP's key derivation (RFC 3711, section 4.3), rate zero. Knows nothing of packets.

use super::KeyError;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256, Block};

/// Which session key; the derivation's label.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Fills `session` with the session key that `label` names. A salt of 12 bytes (RFC 7714) counts as one of 14 with
/// two zeros behind.
pub(super) fn derive(
    master_key: &[u8],
    master_salt: &[u8],
    label: Label,
    session: &mut [u8],
) -> Result<(), KeyError> {
    let mut counter = [0; 16];
    counter.get_mut(..master_salt.len()).ok_or(KeyError)?.copy_from_slice(master_salt);
    counter[7] ^= label as u8;
    match master_key.len() {
        16 => fill(&Aes128::new_from_slice(master_key).map_err(|_| KeyError)?, counter, session),
        32 => fill(&Aes256::new_from_slice(master_key).map_err(|_| KeyError)?, counter, session),
        _ => return Err(KeyError),
    }
    Ok(())
}

/// AES in counter mode over zeros.
fn fill(
    cipher: &impl BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
    mut counter: [u8; 16],
    session: &mut [u8],
) {
    for (index, out) in (0u16..).zip(session.chunks_mut(16)) {
        counter[14..].copy_from_slice(&index.to_be_bytes());
        let mut block = Block::from(counter);
        cipher.encrypt_block(&mut block);
        out.copy_from_slice(&block[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::{Label, derive};

    #[test]
    fn session_keys_match_rfc_3711_appendix_b_3() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let cases = [
            (Label::RtpKey, "C61E7A93744F39EE10734AFE3FF7A087"),
            (Label::RtpSalt, "30CBBC08863D8C85D49DB34A9AE1"),
            (
                Label::RtpAuthentication,
                "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098\
                 6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
            ),
        ];
        for (label, expected) in cases {
            let expected = hex(expected);
            let mut session = vec![0; expected.len()];
            derive(&key, &salt, label, &mut session).unwrap();
            assert_eq!(session, expected, "{label:?}");
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        assert!(derive(&[0; 24], &[0; 14], Label::RtpKey, &mut [0; 16]).is_err());
        assert!(derive(&[0; 16], &[0; 17], Label::RtpKey, &mut [0; 16]).is_err());
    }
}
