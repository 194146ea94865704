//! SRTP against tampering, replay and rollover, against another implementation, and the rule that nothing is sealed
//! twice.

use super::{Keys, MasterKey, OPEN_STREAMS, Rejected, SealStream, Session};
use std::collections::BTreeSet;
use tidegate_types::transport::SrtpProfile;

pub(in crate::association) const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes256Gcm, SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80];

/// Bytes of hexadecimal digits; white space is skipped.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Exported keying material that is not secret.
pub(in crate::association) fn material(profile: SrtpProfile) -> Vec<u8> {
    let length: u8 = match profile {
        SrtpProfile::AeadAes256Gcm => 88,
        SrtpProfile::AeadAes128Gcm => 56,
        SrtpProfile::Aes128CmSha1_80 => 60,
    };
    (0..length).map(|index| index.wrapping_mul(7)).collect()
}

fn pair(profile: SrtpProfile) -> (Session, Session) {
    let session =
        |is_client| Session::new(&Keys::split(profile, &material(profile), is_client).unwrap()).unwrap();
    (session(true), session(false))
}

/// An RTP packet with an extension and 20 bytes of payload, and room for the tag.
pub(in crate::association) fn rtp(ssrc: u32, sequence: u16) -> (Vec<u8>, usize) {
    let mut packet = vec![0x90, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1, 0x10, 5, 0, 0]);
    packet.extend(sequence.to_be_bytes().repeat(10));
    let length = packet.len();
    packet.resize(length + 20, 0);
    (packet, length)
}

/// A receiver report without blocks and an SDES-like tail, and room for the tag.
pub(in crate::association) fn rtcp(ssrc: u32) -> (Vec<u8>, usize) {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    let length = packet.len();
    packet.resize(length + 20, 0);
    (packet, length)
}

fn seal(session: &mut Session, stream: &mut SealStream, index: u64) -> Option<Vec<u8>> {
    let (mut packet, length) = rtp(stream.ssrc(), index as u16);
    let sealed = session.seal_rtp(stream, index, &mut packet, length)?;
    packet.truncate(sealed);
    Some(packet)
}

fn open(session: &mut Session, sealed: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut packet = sealed.to_vec();
    let length = session.open_rtp(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

fn plain(ssrc: u32, sequence: u16) -> Vec<u8> {
    let (mut packet, length) = rtp(ssrc, sequence);
    packet.truncate(length);
    packet
}

#[test]
fn media_and_reports_arrive_under_every_profile_once() {
    for profile in PROFILES {
        let (mut near, mut far) = pair(profile);
        let mut stream = SealStream::new(7);
        let sealed = seal(&mut near, &mut stream, 500).unwrap();
        assert_ne!(sealed[20..40], plain(7, 500)[20..]);
        assert_eq!(open(&mut far, &sealed), Ok(plain(7, 500)), "{profile:?}");
        assert_eq!(open(&mut far, &sealed), Err(Rejected::Replayed), "{profile:?}");

        let (mut report, length) = rtcp(9);
        let sealed = far.seal_rtcp(&mut report, length).unwrap();
        let mut again = report[..sealed].to_vec();
        assert_eq!(near.open_rtcp(&mut report[..sealed]), Ok(length), "{profile:?}");
        assert_eq!(report[..length], rtcp(9).0[..length]);
        assert_eq!(near.open_rtcp(&mut again), Err(Rejected::Replayed), "{profile:?}");
    }
}

#[test]
fn no_flipped_bit_opens_and_none_disturbs_what_follows() {
    for profile in PROFILES {
        let (mut near, mut far) = pair(profile);
        let media = seal(&mut near, &mut SealStream::new(7), 65_000).unwrap();
        let (mut report, length) = rtcp(9);
        let sealed = near.seal_rtcp(&mut report, length).unwrap();
        report.truncate(sealed);
        for bit in 0..media.len() * 8 {
            let mut packet = media.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(far.open_rtp(&mut packet).is_err(), "{profile:?} RTP bit {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut packet = report.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(far.open_rtcp(&mut packet).is_err(), "{profile:?} RTCP bit {bit}");
        }
        assert!(far.opened_rtp.ssrcs.is_empty() && far.opened_rtcp.ssrcs.is_empty(), "a forgery was kept");
        assert!(open(&mut far, &media).is_ok());
        assert!(far.open_rtcp(&mut report).is_ok());
    }
}

#[test]
fn no_cut_packet_opens() {
    for profile in PROFILES {
        let (mut near, mut far) = pair(profile);
        let media = seal(&mut near, &mut SealStream::new(7), 1).unwrap();
        let (mut report, length) = rtcp(9);
        let sealed = near.seal_rtcp(&mut report, length).unwrap();
        for cut in 0..media.len() {
            assert!(far.open_rtp(&mut media[..cut].to_vec()).is_err(), "{profile:?} RTP cut at {cut}");
        }
        for cut in 0..sealed {
            assert!(far.open_rtcp(&mut report[..cut].to_vec()).is_err(), "{profile:?} RTCP cut at {cut}");
        }
    }
}

#[test]
fn a_stream_survives_its_rollovers_with_reordering() {
    for profile in PROFILES {
        let (mut near, mut far) = pair(profile);
        let mut stream = SealStream::new(7);
        // Around each rollover every three arrive backwards; on the way there the receiver is brought along: it
        // cannot follow more than half a rollover at once.
        for (from, to) in [(0xffe0, 0x1_0020), (0x1_ffe1, 0x2_0021), (0x2_ffe2, 0x3_0022)] {
            let indices: Vec<u64> = (from..to).collect();
            for group in indices.chunks(3) {
                let sealed: Vec<_> = group
                    .iter()
                    .map(|index| (*index, seal(&mut near, &mut stream, *index).unwrap()))
                    .collect();
                for (index, packet) in sealed.iter().rev() {
                    let expected = plain(7, *index as u16);
                    assert_eq!(open(&mut far, packet), Ok(expected), "{profile:?} {index:#x}");
                    assert_eq!(open(&mut far, packet), Err(Rejected::Replayed), "{profile:?} {index:#x}");
                }
            }
            for step in [to + 0x7000, to + 0xe000] {
                let packet = seal(&mut near, &mut stream, step).unwrap();
                assert!(open(&mut far, &packet).is_ok(), "{profile:?} {step:#x}");
            }
        }
    }
}

#[test]
fn late_packets_of_the_sender_are_sealed_once_each() {
    let (mut near, mut far) = pair(SrtpProfile::AeadAes128Gcm);
    let mut stream = SealStream::new(7);
    for index in [100, 103, 101, 104, 102] {
        let sealed = seal(&mut near, &mut stream, index).unwrap();
        assert!(open(&mut far, &sealed).is_ok());
    }
    for index in 100..105 {
        assert_eq!(seal(&mut near, &mut stream, index), None, "{index}");
    }
}

#[test]
fn strangers_are_kept_only_when_authentic_and_up_to_the_bound() {
    let (mut near, mut far) = pair(SrtpProfile::AeadAes128Gcm);
    for ssrc in 0..OPEN_STREAMS as u32 {
        let sealed = seal(&mut near, &mut SealStream::new(ssrc), 1).unwrap();
        assert!(open(&mut far, &sealed).is_ok());
    }
    let sealed = seal(&mut near, &mut SealStream::new(1 << 20), 1).unwrap();
    assert_eq!(open(&mut far, &sealed), Err(Rejected::TooManyStreams));
    assert_eq!(far.opened_rtp.ssrcs.len(), OPEN_STREAMS);
}

#[test]
fn a_packet_that_is_not_its_streams_is_not_sealed() {
    let (mut near, _) = pair(SrtpProfile::AeadAes128Gcm);
    let (mut packet, length) = rtp(8, 5);
    assert_eq!(near.seal_rtp(&mut SealStream::new(7), 5, &mut packet, length), None, "another SSRC");
    assert_eq!(near.seal_rtp(&mut SealStream::new(8), 6, &mut packet, length), None, "another sequence");
    assert_eq!(near.seal_rtp(&mut SealStream::new(8), 0x1_0005, &mut packet, length), None, "begins late");
    assert_eq!(near.seal_rtp(&mut SealStream::new(8), 5, &mut packet, length + 21), None, "no room");
    assert_eq!(near.seal_rtp(&mut SealStream::new(8), 5, &mut packet[..length], length), None, "no tag room");
}

/// A seeded walk of a small generator; enough to choose steps.
struct Steps(u64);

impl Steps {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Switch, pause, move, retransmission and plain mistakes: whatever the owner does, no (SSRC, index) of a session
/// is sealed twice, and no RTCP index.
#[test]
fn nothing_is_sealed_twice() {
    for seed in 0..40 {
        let mut steps = Steps(seed);
        let mut sessions = [pair(SrtpProfile::AeadAes128Gcm).0, pair(SrtpProfile::AeadAes256Gcm).0];
        let mut sealed = BTreeSet::<(usize, u32, u64)>::new();
        let mut reports = BTreeSet::<(usize, Vec<u8>)>::new();
        // Two of each SSRC: one of them is a mistake.
        let mut streams: Vec<(SealStream, u64)> =
            (0..12).map(|number| (SealStream::new(number / 2), 65_300)).collect();
        for step in 0..4_000 {
            let session = steps.below(2) as usize;
            let at = steps.below(12) as usize;
            let (stream, next) = &mut streams[at];
            match steps.below(50) {
                // A pause, or a switch to another source.
                0 => *next += steps.below(400),
                // A consumer was closed; another opened under a new SSRC, or by mistake under the same.
                1 => *stream = SealStream::new(stream.ssrc() + 100 * steps.below(2) as u32),
                2 => *next = 65_300,
                3 => {
                    let (mut packet, length) = rtcp(steps.below(3) as u32);
                    let end = sessions[session].seal_rtcp(&mut packet, length).unwrap();
                    assert!(reports.insert((session, packet[end - 4..end].to_vec())), "seed {seed}");
                }
                // The next, or one from before: late, or sent again.
                choice => {
                    let index = if choice < 15 { *next - steps.below(300) } else { *next };
                    *next += 1;
                    // A stream stays with its session, but for mistakes.
                    let session = if choice < 48 { at % 2 } else { session };
                    if seal(&mut sessions[session], stream, index).is_some() {
                        let is_new = sealed.insert((session, stream.ssrc(), index));
                        assert!(is_new, "seed {seed}, step {step}: {} {index:#x} again", stream.ssrc());
                    }
                }
            }
        }
        assert!(sealed.len() > 800, "seed {seed} sealed {} packets only", sealed.len());
    }
}

#[test]
fn the_last_report_index_is_not_passed() {
    let (mut near, _) = pair(SrtpProfile::AeadAes128Gcm);
    near.next_rtcp_index = (1 << 31) - 1;
    let (mut packet, length) = rtcp(1);
    assert!(near.seal_rtcp(&mut packet, length).is_some());
    assert_eq!(near.seal_rtcp(&mut packet, length), None);
}

#[test]
fn keying_material_of_a_wrong_length_is_refused() {
    for profile in PROFILES {
        let good = material(profile);
        assert!(Keys::split(profile, &good[1..], true).is_err());
        assert!(Keys::split(profile, &[], true).is_err());
    }
    assert!(MasterKey::new(&[0; 33], &[]).is_err());
}

/// Against `rtc-srtp`, byte for byte, in both directions and across a rollover.
#[test]
fn another_implementation_agrees() {
    use rtc_srtp::context::Context;
    use rtc_srtp::crypto::default_provider;
    use rtc_srtp::protection_profile::ProtectionProfile;

    let provider = default_provider().unwrap();
    for (profile, other) in [
        (SrtpProfile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
        (SrtpProfile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
        (SrtpProfile::Aes128CmSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    ] {
        let keys = Keys::split(profile, &material(profile), true).unwrap();
        let context = |master: &MasterKey| {
            Context::new(master.key(), master.salt(), other, None, None, provider.crypto()).unwrap()
        };
        let (mut from_us, mut to_us) = (context(&keys.local), context(&keys.remote));
        let mut session = Session::new(&keys).unwrap();
        let mut stream = SealStream::new(7);
        for index in 65_530..65_540 {
            let sealed = seal(&mut session, &mut stream, index).unwrap();
            let opened = from_us.decrypt_rtp(&sealed).unwrap();
            assert_eq!(opened[..], plain(7, index as u16), "{profile:?} {index:#x} from us");
            let sealed = to_us.encrypt_rtp(&plain(7, index as u16)).unwrap();
            assert_eq!(
                open(&mut session, &sealed),
                Ok(plain(7, index as u16)),
                "{profile:?} {index:#x} to us"
            );

            let (mut report, length) = rtcp(9);
            let end = session.seal_rtcp(&mut report, length).unwrap();
            assert_eq!(from_us.decrypt_rtcp(&report[..end]).unwrap()[..], rtcp(9).0[..length], "{profile:?}");
            let mut sealed = to_us.encrypt_rtcp(&rtcp(9).0[..length]).unwrap();
            assert_eq!(session.open_rtcp(&mut sealed), Ok(length), "{profile:?}");
        }
    }
}
