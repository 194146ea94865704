//! The bodies of the fuzz targets: ordinary functions, which stable tests call over the checked-in corpus too.
//! Nothing of the engine calls them.

use super::dtls::Identity;
use super::ice::Ice;
use super::srtp::{Keys, Session};
use super::{Association, AssociationConfig, classify, stun_ufrag};
use crate::io::{Datagrams, Tuple};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tidegate_types::transport::{DtlsRole, Fingerprint, IceCredentials, RemoteTransport, SrtpProfile};
use tidegate_types::{Now, NtpTime, Secret};

/// Any bytes as a check: whatever they are, no answer is longer than they.
pub fn fuzz_stun(bytes: &[u8]) {
    let _ = (classify(bytes), stun_ufrag(bytes));
    let mut out = Datagrams::default();
    let _ = Ice::new(credentials()).receive(now().instant, tuple(), bytes, &mut out);
    assert!(out.heads().iter().all(|head| out.bytes(head).len() <= bytes.len()));
}

/// Any bytes as a sealed packet (which never opens by chance), and as a plain packet that is sealed by a peer with
/// the keys (which opens to itself). The first byte chooses profile and kind.
pub fn fuzz_srtp(bytes: &[u8]) {
    let Some((choice, packet)) = bytes.split_first() else { return };
    let profile = [SrtpProfile::AeadAes256Gcm, SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80]
        [usize::from(choice % 3)];
    let (Some(mut near), Some(mut far)) = (session(profile, true), session(profile, false)) else { return };
    let is_rtcp = choice & 0x80 != 0;
    let open = |session: &mut Session, packet: &mut [u8]| {
        if is_rtcp { session.open_rtcp(packet) } else { session.open_rtp(packet) }
    };
    assert!(open(&mut far, &mut packet.to_vec()).is_err());
    let mut sealed = packet.to_vec();
    sealed.resize(packet.len() + super::SEAL_OVERHEAD, 0);
    let length = if is_rtcp {
        near.seal_rtcp(&mut sealed, packet.len())
    } else {
        near.seal_any_rtp(&mut sealed, packet.len())
    };
    let Some(length) = length else { return };
    assert_eq!(open(&mut far, &mut sealed[..length]), Ok(packet.len()));
    assert_eq!(&sealed[..packet.len()], packet);
}

/// Any bytes as datagrams (each behind a byte that says its length in eights) to a transport that awaits a
/// ClientHello, or a ServerHello if the first byte is odd.
pub fn fuzz_dtls(bytes: &[u8]) {
    let Some((choice, mut rest)) = bytes.split_first() else { return };
    let role = if choice % 2 == 0 { DtlsRole::Passive } else { DtlsRole::Active };
    let config = AssociationConfig { identity: identity(), profiles: vec![SrtpProfile::AeadAes256Gcm] };
    let mut association = Association::new(&config, credentials(), now());
    association
        .connect(RemoteTransport { ice: credentials(), fingerprint: Fingerprint([0; 32]), role }, now());
    association.validate(now(), tuple());
    let mut out = Datagrams::default();
    association.timeout(now(), &mut out);
    while let Some((length, behind)) = rest.split_first() {
        let (datagram, behind) = behind.split_at(behind.len().min(8 * usize::from(*length)));
        let _ = association.receive(now(), tuple(), &mut datagram.to_vec(), &mut out);
        assert!(association.profile().is_none());
        rest = behind;
    }
}

fn session(profile: SrtpProfile, is_client: bool) -> Option<Session> {
    let length = match profile {
        SrtpProfile::AeadAes256Gcm => 88,
        SrtpProfile::AeadAes128Gcm => 56,
        SrtpProfile::Aes128CmSha1_80 => 60,
    };
    Session::new(&Keys::split(profile, &[0x5a; 88][..length], is_client).ok()?).ok()
}

pub(crate) fn credentials() -> IceCredentials {
    // RFC 5769's, so that its sample passes.
    IceCredentials { ufrag: "evtj".to_owned(), password: Secret::new("VOkJxbRl1RmTxUk/WvJxBt") }
}

fn tuple() -> Tuple {
    Tuple { socket: 0, remote: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9)) }
}

/// Made once: a certificate costs more than what is fuzzed.
pub(crate) fn identity() -> Arc<Identity> {
    static IDENTITY: OnceLock<Arc<Identity>> = OnceLock::new();
    Arc::clone(IDENTITY.get_or_init(|| Arc::new(Identity::generate().expect("a system with randomness"))))
}

/// One moment for all.
pub(crate) fn now() -> Now {
    static NOW: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a beginning; the fuzzer's time stands still")]
    let instant = *NOW.get_or_init(Instant::now);
    Now { instant, wall: NtpTime(0) }
}

#[cfg(test)]
mod tests {
    use super::{fuzz_dtls, fuzz_srtp, fuzz_stun};
    use std::path::Path;

    /// Each entry as it is, cut, and with each of its bytes changed.
    fn digest(target: &str, body: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let mut entries = 0;
        for entry in std::fs::read_dir(&folder).expect("the corpus is checked in") {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            body(&bytes);
            for at in 0..bytes.len() {
                body(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] = changed[at].wrapping_mul(31).wrapping_add(at as u8 | 1);
                body(&changed);
            }
            entries += 1;
        }
        assert!(entries > 0, "{} is empty", folder.display());
    }

    #[test]
    fn the_stun_corpus_is_digested() {
        digest("stun", fuzz_stun);
    }

    #[test]
    fn the_srtp_corpus_is_digested() {
        digest("srtp", fuzz_srtp);
    }

    #[test]
    fn the_dtls_corpus_is_digested() {
        digest("dtls", fuzz_dtls);
    }
}
