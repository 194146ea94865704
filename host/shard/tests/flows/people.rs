//! People who speak and hear, each with a socket or a stream of their own. Knows nothing of where their transports
//! stand.

use crate::host::{Host, PATIENCE, now};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use tidegate_media::association::{AssociationConfig, Received, SealStream};
use tidegate_media::io::Datagram;
use tidegate_media::peer::Peer;
use tidegate_media::rtp::{HopValues, Outgoing, OutgoingExtensions, write_header};
use tidegate_types::RtpParameters;
use tidegate_types::packet::Extensions;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters};

/// How often a person says that it is still there.
const CHECKS: Duration = Duration::from_secs(2);
/// The SSRC of everyone's voice.
const VOICE: u32 = 7;

pub(crate) struct Person {
    pub(crate) peer: Peer,
    link: Link,
    voice: SealStream,
    next_check: Instant,
    /// Packets of sound that it said and heard.
    pub(crate) spoken: u64,
    pub(crate) heard: u64,
    /// Datagrams that it sent.
    pub(crate) sent: u64,
}

/// How a person reaches the host.
pub(crate) enum Link {
    Udp(UdpSocket),
    /// With what has arrived of the frames (RFC 4571).
    Tcp(TcpStream, Vec<u8>),
}

impl Link {
    pub(crate) fn udp(host: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(host).unwrap();
        Self::Udp(socket)
    }

    pub(crate) fn tcp(host: SocketAddr) -> Self {
        let stream = TcpStream::connect(host).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self::Tcp(stream, Vec::new())
    }

    pub(crate) fn send(&mut self, datagram: &[u8]) {
        match self {
            Self::Udp(socket) => assert_eq!(socket.send(datagram).unwrap(), datagram.len()),
            Self::Tcp(stream, _) => {
                let length = u16::try_from(datagram.len()).unwrap();
                stream.write_all(&[&length.to_be_bytes(), datagram].concat()).unwrap();
            }
        }
    }

    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = [0; 2_048];
        match self {
            Self::Udp(socket) => socket.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec()),
            Self::Tcp(stream, arrived) => {
                match stream.read(&mut bytes) {
                    Ok(0) => panic!("the host closed the stream"),
                    Ok(length) => arrived.extend_from_slice(&bytes[..length]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                let length = usize::from(u16::from_be_bytes(*arrived.first_chunk()?));
                (arrived.len() >= 2 + length).then(|| arrived.drain(..2 + length).skip(2).collect())
            }
        }
    }
}

impl Person {
    /// Says one packet of sound.
    pub(crate) fn speak(&mut self) {
        self.spoken += 1;
        let outgoing = Outgoing {
            marker: false,
            payload_type: 111,
            sequence: self.spoken as u16,
            timestamp: self.spoken as u32,
            ssrc: VOICE,
        };
        let mut packet = [0; 200];
        let hop = HopValues { transport_sequence: 0, absolute_send_time: 0 };
        let extensions = OutgoingExtensions::default();
        let head = write_header(&mut packet, &outgoing, &extensions, &hop, &Extensions::default());
        self.peer.send_rtp(now(), &mut self.voice, self.spoken, &packet[..head + 40]);
    }

    /// Sends what it has to say and takes what arrived.
    pub(crate) fn turn(&mut self) {
        let now = now();
        self.peer.timeout(now);
        if self.next_check <= now.instant {
            self.next_check = now.instant + CHECKS;
            self.peer.check(now);
        }
        while let Some(mut bytes) = self.link.receive() {
            if let Received::Rtp(_) = self.peer.receive(now, &mut bytes) {
                self.heard += 1;
            }
        }
        let out = self.peer.output();
        // A real agent's check comes before anything else; a stream that begins otherwise is closed.
        let is_check = |head: &&Datagram| out.bytes(head).first().is_some_and(|first| *first < 4);
        let (checks, others): (Vec<&Datagram>, Vec<&Datagram>) = out.heads().iter().partition(is_check);
        for head in checks.into_iter().chain(others) {
            self.link.send(out.bytes(head));
            self.sent += 1;
        }
        out.clear();
    }
}

/// Turns everyone until `done`, at most [`PATIENCE`]; `each` runs once a turn, about every millisecond.
pub(crate) fn until(
    people: &mut [Person],
    what: &str,
    mut each: impl FnMut(&mut [Person]),
    mut done: impl FnMut(&[Person]) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !done(people) {
        assert!(Instant::now() < end, "{what} did not happen");
        each(people);
        people.iter_mut().for_each(Person::turn);
        // Paces the loop; nothing depends on its length.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A voice, as it is agreed on.
pub(crate) fn opus(ssrc: u32) -> RtpParameters {
    RtpParameters {
        mid: None,
        codecs: vec![CodecParameters {
            codec: Codec::Opus,
            format: String::new(),
            payload_type: 111,
            rtx_payload_type: None,
            nack: false,
            pli: false,
            transport_cc: false,
        }],
        extensions: Vec::new(),
        encodings: vec![EncodingParameters { ssrc: Some(ssrc), rtx_ssrc: None, rid: None }],
        cname: "someone".to_owned(),
        reduced_size_rtcp: true,
    }
}

/// What a person's own voice is agreed on to be.
pub(crate) fn voice() -> RtpParameters {
    opus(VOICE)
}

/// These people, each with a transport at home, handshake done. Nobody hears what comes from another address than it
/// knows.
pub(crate) fn connect(
    host: &mut Host,
    identity: &AssociationConfig,
    numbers: std::ops::Range<u64>,
    link: fn(SocketAddr) -> Link,
) -> Vec<Person> {
    let mut enter = |number: u64| {
        let mut peer = Peer::new(identity, &number.to_string(), now());
        let local = host.admit(number, peer.remote());
        let address = local.candidates[0].address;
        peer.meet(&local, address, now());
        let (link, next_check) = (link(address), Instant::now() + CHECKS);
        Person { peer, link, voice: SealStream::new(VOICE), next_check, spoken: 0, heard: 0, sent: 0 }
    };
    let mut people: Vec<Person> = Vec::new();
    for number in numbers {
        people.push(enter(number));
        people.iter_mut().for_each(Person::turn);
    }
    let all = |people: &[Person]| people.iter().all(|person| person.peer.is_connected());
    until(&mut people, "everyone's handshake", |_| {}, all);
    people
}
