//! A transport: one peer's ICE+DTLS+SRTP association, its parameters, commands' payloads, reports and stats.

use crate::Secret;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// ICE credentials (RFC 8445, section 5.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// User name fragment. The host's own begin with the shard that owns the transport.
    pub ufrag: String,
    /// Password.
    pub password: Secret,
}

/// One of the host's own candidates; always of type host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where peers reach it over UDP, as announced.
    pub address: SocketAddr,
    /// Over TCP as well (passive, RFC 6544).
    #[serde(default)]
    pub tcp: bool,
}

/// Who starts the DTLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtlsRole {
    /// This side sends the ClientHello.
    Active,
    /// This side awaits it.
    Passive,
}

/// SHA-256 over a certificate in DER (RFC 8122).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Upper-case hexadecimal pairs separated by colons, as SDP writes it.
    #[must_use]
    pub fn to_sdp(&self) -> String {
        self.0.map(|byte| format!("{byte:02X}")).join(":")
    }

    /// Reads [`Fingerprint::to_sdp`]'s form; `None` if it is not 32 hexadecimal pairs.
    #[must_use]
    pub fn from_sdp(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2)?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        pairs.next().is_none().then_some(Self(bytes))
    }
}

/// SRTP protection profiles, dearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SrtpProfile {
    /// RFC 7714.
    #[serde(rename = "AEAD_AES_256_GCM")]
    AeadAes256Gcm,
    /// RFC 7714.
    #[serde(rename = "AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    /// RFC 3711 with RFC 5764's profile.
    #[serde(rename = "SRTP_AES128_CM_HMAC_SHA1_80")]
    Aes128CmSha1_80,
}

/// What the peer told about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTransport {
    /// The peer's credentials; a change of them is an ICE restart.
    pub ice: IceCredentials,
    /// The only certificate that the peer may show.
    pub fingerprint: Fingerprint,
    /// The host's own role.
    pub role: DtlsRole,
}

/// What the host tells a peer about a transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTransport {
    /// The host's credentials.
    pub ice: IceCredentials,
    /// Where to reach it.
    pub candidates: Vec<Candidate>,
    /// The certificate that the host will show.
    pub fingerprint: Fingerprint,
}

/// How far the association has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportState {
    /// Made; no valid check yet.
    #[default]
    New,
    /// A check was valid; DTLS under way.
    Connecting,
    /// Media may flow.
    Connected,
    /// No valid check for a while on the selected tuple; it may come back (or restart ICE).
    Disconnected,
    /// Ended: consent lost for 30 s, DTLS failed, or the peer closed it.
    Closed,
}

/// Why a transport ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportEnd {
    /// No valid check for 30 s (RFC 7675).
    ConsentLost,
    /// The peer's certificate is not the negotiated one, or it showed none.
    WrongFingerprint,
    /// The handshake failed or took too long.
    DtlsFailed,
    /// The peer sent close_notify.
    PeerClosed,
}

impl TransportEnd {
    /// One plain sentence for logs and people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::ConsentLost => "no valid connectivity check arrived for 30 s",
            Self::WrongFingerprint => "the peer's certificate does not match the fingerprint it announced",
            Self::DtlsFailed => "the DTLS handshake failed",
            Self::PeerClosed => "the peer closed the connection",
        }
    }
}

/// Counters of one transport since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportStats {
    /// State.
    pub state: TransportState,
    /// Where media goes now.
    pub selected: Option<SocketAddr>,
    /// How many tuples passed a check.
    pub validated_tuples: u64,
    /// The agreed profile.
    pub srtp_profile: Option<SrtpProfile>,
    /// Datagrams in.
    pub received_packets: u64,
    /// Bytes in.
    pub received_bytes: u64,
    /// Datagrams out.
    pub sent_packets: u64,
    /// Bytes out.
    pub sent_bytes: u64,
    /// SRTP or SRTCP that failed authentication or was replayed.
    pub rejected_packets: u64,
    /// Round trip told by receiver reports, in microseconds; 0 while unknown.
    pub round_trip_us: u64,
    /// What the way to the peer is believed to carry; `None` while the peer has told nothing about it.
    pub estimate_kbps: Option<u64>,
    /// How long the latest packets stood in queues on the way.
    pub queue_us: u64,
    /// Padding sent to find out how much the way carries.
    pub padding_bytes: u64,
    /// Packets held back so that they would not leave all at once.
    pub delayed_packets: u64,
    /// What its consumers' shares of its bit rate take together, in kbit/s; 0 where that is not bounded.
    pub given_kbps: u64,
    /// What they would take if each had all that it wants.
    pub wanted_kbps: u64,
    /// Sound dropped because it exceeded the grant's ceiling.
    pub refused_audio_packets: u64,
    /// Pictures dropped because they exceeded the grant's ceiling.
    pub refused_video_packets: u64,
    /// Packets of streams beyond the most that one transport may have.
    pub refused_streams: u64,
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn a_fingerprint_reads_back_and_refuses_what_is_not_one() {
        let print = Fingerprint(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(Fingerprint::from_sdp(&print.to_sdp()), Some(print));
        assert_eq!(Fingerprint::from_sdp(""), None);
        assert_eq!(Fingerprint::from_sdp(&format!("{}:00", print.to_sdp())), None);
        assert_eq!(Fingerprint::from_sdp(&print.to_sdp().replace("07", "7")), None);
    }
}
