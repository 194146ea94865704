//! An association and a small client of the tests' own, on virtual time over a scripted network.

use super::dtls::{Handshake, Identity, Step, fingerprint_of};
use super::srtp::tests::{PROFILES, material, rtcp, rtp};
use super::srtp::{Keys, SealStream, Session};
use super::stun::{Writer, attribute, kind};
use super::{
    Association, AssociationConfig, AssociationEvent, Drop, DtlsError, Kind, Received, classify, stun_ufrag,
};
use crate::io::{Datagrams, Tuple};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::transport::{
    DtlsRole, Fingerprint, IceCredentials, RemoteTransport, SrtpProfile, TransportEnd, TransportState,
};
use tidegate_types::{Now, NtpTime, Secret};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn beginning() -> Now {
    // Only a beginning: all that follows is counted from it.
    #[allow(clippy::disallowed_methods)]
    let instant = Instant::now();
    Now { instant, wall: NtpTime(0) }
}

fn tuple(port: u16) -> Tuple {
    Tuple { socket: 0, remote: format!("192.0.2.7:{port}").parse().unwrap() }
}

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.to_owned(), password: Secret::new(format!("password of {ufrag}, long")) }
}

/// How a check differs from a plain one.
#[derive(Clone, Copy, Default)]
struct Check {
    nominates: bool,
    controlled: bool,
    unknown: bool,
}

const NOMINATION: Check = Check { nominates: true, controlled: false, unknown: false };

/// A check under the host's `local` credentials.
fn check(local: &IceCredentials, remote_ufrag: &str, check: Check) -> Vec<u8> {
    let mut space = [0; 300];
    let mut writer = Writer::new(&mut space, kind::REQUEST, *b"transaction!").unwrap();
    let username = format!("{}:{remote_ufrag}", local.ufrag);
    writer.attribute(attribute::USERNAME, username.as_bytes()).unwrap();
    writer.attribute(attribute::PRIORITY, &[1, 2, 3, 4]).unwrap();
    let role = if check.controlled { attribute::ICE_CONTROLLED } else { attribute::ICE_CONTROLLING };
    writer.attribute(role, &[9; 8]).unwrap();
    if check.nominates {
        writer.attribute(attribute::USE_CANDIDATE, &[]).unwrap();
    }
    if check.unknown {
        writer.attribute(0x7abc, &[1]).unwrap();
    }
    let length = writer.finish(local.password.expose()).unwrap();
    space[..length].to_vec()
}

/// What the network does to a DTLS datagram (their number, counted over both directions): what arrives.
type Network = Box<dyn FnMut(usize, Vec<u8>) -> Vec<Vec<u8>>>;

struct Call {
    host: Association,
    client: Box<dyn Handshake>,
    client_due: Option<Instant>,
    client_fingerprint: Fingerprint,
    client_session: Option<Session>,
    client_saw_close: bool,
    client_gave_up: bool,
    tuple: Tuple,
    now: Now,
    out: Datagrams,
    network: Network,
    datagrams: usize,
    events: Vec<AssociationEvent>,
}

struct Setup {
    profiles: Vec<SrtpProfile>,
    host_role: DtlsRole,
    client_record_bytes: usize,
    network: Network,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            profiles: PROFILES.to_vec(),
            host_role: DtlsRole::Passive,
            client_record_bytes: 1_200,
            network: Box::new(|_, datagram| vec![datagram]),
        }
    }
}

impl Call {
    fn new(setup: Setup) -> Self {
        let config = AssociationConfig {
            identity: Arc::new(Identity::generate().unwrap()),
            profiles: setup.profiles.clone(),
        };
        let now = beginning();
        let client_identity = Identity::generate_with(setup.client_record_bytes).unwrap();
        let client_role = match setup.host_role {
            DtlsRole::Active => DtlsRole::Passive,
            DtlsRole::Passive => DtlsRole::Active,
        };
        Self {
            host: Association::new(&config, credentials("host"), now),
            client: client_identity.handshake(client_role, &setup.profiles, now.instant),
            client_due: Some(now.instant),
            client_fingerprint: client_identity.fingerprint(),
            client_session: None,
            client_saw_close: false,
            client_gave_up: false,
            tuple: tuple(5_000),
            now,
            out: Datagrams::default(),
            network: setup.network,
            datagrams: 0,
            events: Vec::new(),
        }
    }

    fn connect_as(&mut self, ufrag: &str, fingerprint: Fingerprint, role: DtlsRole) {
        let remote = RemoteTransport { ice: credentials(ufrag), fingerprint, role };
        self.host.connect(remote, self.now);
    }

    /// A check from `tuple`, answered or not.
    fn check_from(&mut self, tuple: Tuple, kind: Check) -> Received {
        let mut bytes = check(&self.host.local().clone(), "peer", kind);
        self.deliver_to_host(tuple, &mut bytes)
    }

    fn deliver_to_host(&mut self, tuple: Tuple, bytes: &mut [u8]) -> Received {
        let received = self.host.receive(self.now, tuple, bytes, &mut self.out);
        self.drain_events();
        received
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.host.poll_event() {
            self.events.push(event);
        }
    }

    fn through_network(&mut self, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        let number = self.datagrams;
        self.datagrams += 1;
        (self.network)(number, datagram)
    }

    /// Lets all datagrams that wait arrive, on both sides, until both are quiet.
    fn exchange(&mut self) {
        loop {
            let from_client = self.client_records();
            let from_host: Vec<Vec<u8>> = self
                .out
                .heads()
                .iter()
                .map(|head| self.out.bytes(head).to_vec())
                .filter(|bytes| classify(bytes) == Kind::Dtls)
                .collect();
            self.out.clear();
            if from_client.is_empty() && from_host.is_empty() {
                return;
            }
            for record in from_host {
                for arriving in self.through_network(record) {
                    // Errors of the client are the host's silence.
                    let _ = self.client.receive(self.now.instant, &arriving);
                }
            }
            for record in from_client {
                for mut arriving in self.through_network(record) {
                    self.deliver_to_host(self.tuple, &mut arriving);
                }
            }
        }
    }

    fn client_records(&mut self) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        loop {
            match self.client.step() {
                Ok(Step::Record(record)) => records.push(record.to_vec()),
                Ok(Step::Keys(keys)) => self.client_session = Some(Session::new(&keys).unwrap()),
                Ok(Step::PeerClosed) => self.client_saw_close = true,
                Ok(Step::Wait(due)) => {
                    self.client_due = due.filter(|_| !self.client_gave_up);
                    return records;
                }
                Ok(_) => {}
                Err(_) => return records,
            }
        }
    }

    /// Moves to the next thing that is due, at most until `until`; false when it is reached.
    fn advance(&mut self, until: Instant) -> bool {
        let due = [self.host.next_timeout(), self.client_due].into_iter().flatten().min();
        let at = due.unwrap_or(until).min(until).max(self.now.instant);
        self.now = self.now.after(at - self.now.instant);
        if self.host.next_timeout().is_some_and(|due| due <= at) {
            self.host.timeout(self.now, &mut self.out);
            self.drain_events();
        }
        if self.client_due.is_some_and(|due| due <= at) {
            self.client_gave_up |= self.client.timeout(at).is_err();
        }
        self.exchange();
        at < until
    }

    fn run(&mut self, span: Duration) {
        let until = self.now.instant + span;
        self.exchange();
        let mut turns = 0;
        while self.advance(until) {
            turns += 1;
            assert!(turns < 10_000, "time stands still");
        }
    }

    /// A call that is connected, or has had the time for it: checks every second, for at most 25 s.
    fn establish(setup: Setup) -> Self {
        let role = setup.host_role;
        let mut call = Self::new(setup);
        call.connect_as("peer", call.client_fingerprint, role);
        for _ in 0..25 {
            if matches!(call.host.state(), TransportState::Connected | TransportState::Closed) {
                break;
            }
            call.check_from(call.tuple, NOMINATION);
            call.run(SECOND);
        }
        call
    }

    fn last_state(&self) -> Option<(TransportState, Option<TransportEnd>)> {
        self.events.iter().rev().find_map(|event| match event {
            AssociationEvent::State(state, end) => Some((*state, *end)),
            _ => None,
        })
    }

    fn assert_closed(&self, end: TransportEnd) {
        assert_eq!(self.last_state(), Some((TransportState::Closed, Some(end))));
        assert_eq!(self.host.next_timeout(), None);
    }

    /// RTP and RTCP, both ways.
    fn assert_media_flows(&mut self, ssrc: u32) {
        let mut client = self.client_session.take().expect("the client has keys");
        let (mut packet, length) = rtp(ssrc, 1);
        let sealed = client.seal_rtp(&mut SealStream::new(ssrc), 1, &mut packet, length).unwrap();
        assert_eq!(self.deliver_to_host(self.tuple, &mut packet[..sealed]), Received::Rtp(length));
        assert_eq!(packet[..length], rtp(ssrc, 1).0[..length]);

        let (mut packet, length) = rtp(ssrc + 1, 2);
        let mut stream = SealStream::new(ssrc + 1);
        let sealed = self.host.seal_rtp(&mut stream, 2, &mut packet, length).unwrap();
        assert_eq!(client.open_rtp(&mut packet[..sealed]), Ok(length));

        let (mut packet, length) = rtcp(ssrc);
        let sealed = client.seal_rtcp(&mut packet, length).unwrap();
        assert_eq!(self.deliver_to_host(self.tuple, &mut packet[..sealed]), Received::Rtcp(length));
        let (mut packet, length) = rtcp(ssrc);
        let sealed = self.host.seal_rtcp(&mut packet, length).unwrap();
        assert_eq!(client.open_rtcp(&mut packet[..sealed]), Ok(length));
        self.client_session = Some(client);
    }
}

fn assert_send<T: Send>(_: &T) {}

#[test]
fn a_client_connects_and_media_flows_both_ways() {
    for host_role in [DtlsRole::Passive, DtlsRole::Active] {
        let mut call = Call::establish(Setup { host_role, ..Setup::default() });
        assert_send(&call.host);
        let states: Vec<_> = call
            .events
            .iter()
            .filter_map(|event| match event {
                AssociationEvent::State(state, _) => Some(*state),
                _ => None,
            })
            .collect();
        assert_eq!(states, [TransportState::Connecting, TransportState::Connected], "{host_role:?}");
        assert_eq!(call.host.profile(), Some(SrtpProfile::AeadAes256Gcm));
        assert_eq!(call.host.selected(), Some(call.tuple));
        call.assert_media_flows(10);
        assert_eq!(call.host.refused_seals(), 0);
    }
}

/// A handshake that was agreed elsewhere: a profile's keys, at once.
#[derive(Debug)]
struct Agreed {
    profile: SrtpProfile,
    steps: usize,
    certificate: Vec<u8>,
}

impl Handshake for Agreed {
    fn receive(&mut self, _: Instant, _: &[u8]) -> Result<(), DtlsError> {
        Ok(())
    }

    fn timeout(&mut self, _: Instant) -> Result<(), DtlsError> {
        Ok(())
    }

    fn send(&mut self, _bytes: &[u8]) -> Result<(), DtlsError> {
        Ok(())
    }

    fn close(&mut self) {}

    fn step(&mut self) -> Result<Step<'_>, DtlsError> {
        self.steps += 1;
        Ok(match self.steps {
            1 => Step::PeerCertificate(&self.certificate),
            2 => Step::Connected,
            3 => Step::Keys(Keys::split(self.profile, &material(self.profile), false)?),
            _ => Step::Wait(None),
        })
    }

    fn rest(&mut self) {}
}

/// A call whose handshake ends with `profile`, whatever is allowed.
fn agreed(profile: SrtpProfile, allowed: &[SrtpProfile]) -> Call {
    let mut call = Call::new(Setup { profiles: allowed.to_vec(), ..Setup::default() });
    let certificate = vec![1, 2, 3];
    call.connect_as("peer", fingerprint_of(&certificate), DtlsRole::Passive);
    call.host.dtls = Some(Box::new(Agreed { profile, steps: 0, certificate }));
    call.host.dtls_timeout = Some(call.now.instant);
    call.client_session =
        Some(Session::new(&Keys::split(profile, &material(profile), true).unwrap()).unwrap());
    call.check_from(call.tuple, NOMINATION);
    call
}

#[test]
fn every_profile_carries_media() {
    for profile in PROFILES {
        let mut call = agreed(profile, &PROFILES);
        assert_eq!(call.host.state(), TransportState::Connected);
        assert_eq!(call.host.profile(), Some(profile));
        call.assert_media_flows(20);
    }
}

#[test]
fn a_profile_that_is_not_allowed_ends_the_handshake() {
    let call = agreed(SrtpProfile::Aes128CmSha1_80, &PROFILES[..2]);
    call.assert_closed(TransportEnd::DtlsFailed);
    // This client offers GCM first, and where GCM is not allowed the client's first is taken.
    let call = Call::establish(Setup { profiles: PROFILES[2..].to_vec(), ..Setup::default() });
    call.assert_closed(TransportEnd::DtlsFailed);
    assert_eq!(call.host.profile(), None);
}

#[test]
fn another_certificate_than_announced_ends_the_transport_before_any_key() {
    for host_role in [DtlsRole::Passive, DtlsRole::Active] {
        let mut call = Call::new(Setup { host_role, ..Setup::default() });
        let mut fingerprint = call.client_fingerprint;
        fingerprint.0[31] ^= 1;
        call.connect_as("peer", fingerprint, host_role);
        call.check_from(call.tuple, NOMINATION);
        call.run(2 * SECOND);
        call.assert_closed(TransportEnd::WrongFingerprint);
        let connected = AssociationEvent::State(TransportState::Connected, None);
        assert!(!call.events.contains(&connected));
        let (mut packet, length) = rtp(1, 1);
        assert_eq!(call.host.seal_rtp(&mut SealStream::new(1), 1, &mut packet, length), None);
        assert_eq!(call.host.refused_seals(), 1);
    }
}

/// The client's Certificate message with an empty list; other records as they are.
fn without_certificate(datagram: &[u8]) -> Vec<u8> {
    const RECORD: usize = 13;
    let mut rest = datagram;
    let mut changed = Vec::new();
    while rest.len() >= RECORD {
        let length = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        let (record, behind) = rest.split_at(RECORD + length);
        let is_certificate = record[0] == 22 && record[3..5] == [0, 0] && record[RECORD] == 11;
        if is_certificate {
            changed.extend(&record[..11]);
            changed.extend([0, 15]);
            changed.extend([11, 0, 0, 3]);
            changed.extend(&record[RECORD + 4..RECORD + 6]);
            changed.extend([0, 0, 0, 0, 0, 3, 0, 0, 0]);
        } else {
            changed.extend(record);
        }
        rest = behind;
    }
    changed
}

#[test]
fn a_client_without_a_certificate_is_turned_away() {
    let mut server_certificate_passed = false;
    let network: Network = Box::new(move |_, datagram| {
        // The host's own certificate comes first; what follows is the client's.
        let has_certificate = datagram.len() > 25 && without_certificate(&datagram) != datagram;
        if has_certificate && !std::mem::replace(&mut server_certificate_passed, true) {
            return vec![datagram];
        }
        vec![without_certificate(&datagram)]
    });
    let call = Call::establish(Setup { network, ..Setup::default() });
    call.assert_closed(TransportEnd::WrongFingerprint);
}

#[test]
fn a_handshake_survives_the_loss_of_any_two_datagrams() {
    for lost in 0..10 {
        for host_role in [DtlsRole::Passive, DtlsRole::Active] {
            let network: Network =
                Box::new(
                    move |number, datagram| {
                        if number == lost || number == lost + 1 { Vec::new() } else { vec![datagram] }
                    },
                );
            let call = Call::establish(Setup { network, host_role, ..Setup::default() });
            assert_eq!(call.host.state(), TransportState::Connected, "{host_role:?}, {lost} and next lost");
        }
    }
}

#[test]
fn a_handshake_survives_duplication_and_reversal() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let network: Network = Box::new(move |_, datagram| {
        held.push(datagram);
        if held.len() == 2 {
            held.drain(..).rev().flat_map(|late| [late.clone(), late]).collect()
        } else {
            Vec::new()
        }
    });
    let call = Call::establish(Setup { network, ..Setup::default() });
    assert_eq!(call.host.state(), TransportState::Connected);
}

#[test]
fn a_client_hello_in_fragments_is_understood() {
    let mut call = Call::establish(Setup { client_record_bytes: 160, ..Setup::default() });
    assert_eq!(call.host.state(), TransportState::Connected);
    assert!(call.datagrams > 6, "{} datagrams: the hello came in one piece", call.datagrams);
    call.assert_media_flows(10);
}

#[test]
fn records_and_media_from_unchecked_tuples_are_not_looked_at() {
    let mut call = Call::establish(Setup::default());
    let stranger = tuple(6_000);
    let mut hello = [22, 254, 253, 0, 0];
    assert_eq!(call.deliver_to_host(stranger, &mut hello), Received::Dropped(Drop::Unvalidated));
    let (mut packet, length) = rtp(1, 1);
    let mut client = call.client_session.take().unwrap();
    let sealed = client.seal_rtp(&mut SealStream::new(1), 1, &mut packet, length).unwrap();
    let received = call.deliver_to_host(stranger, &mut packet[..sealed]);
    assert_eq!(received, Received::Dropped(Drop::Unvalidated));
    assert_eq!(call.deliver_to_host(call.tuple, &mut packet[..sealed]), Received::Rtp(length));
}

#[test]
fn a_hello_waits_for_the_fingerprint() {
    let mut call = Call::new(Setup::default());
    assert_eq!(call.check_from(call.tuple, NOMINATION), Received::Handled);
    call.client.timeout(call.now.instant).unwrap();
    let hello = call.client_records();
    let received = call.deliver_to_host(call.tuple, &mut hello[0].clone());
    assert_eq!(received, Received::Dropped(Drop::DtlsEarly));
    // The client repeats it, and the handshake completes.
    call.connect_as("peer", call.client_fingerprint, DtlsRole::Passive);
    call.run(3 * SECOND);
    assert_eq!(call.host.state(), TransportState::Connected);
}

#[test]
fn checks_are_answered_only_with_our_password_and_never_at_greater_length() {
    let mut call = Call::new(Setup::default());
    let wrong = IceCredentials { password: Secret::new("guess"), ..credentials("host") };
    let received = call.deliver_to_host(call.tuple, &mut check(&wrong, "peer", NOMINATION));
    assert_eq!(received, Received::Dropped(Drop::StunUnauthenticated));
    assert!(call.out.is_empty() && call.host.selected().is_none());

    for (kind, expected, answer) in [
        (NOMINATION, Received::Handled, [1, 1]),
        (Check { controlled: true, ..NOMINATION }, Received::Dropped(Drop::StunRefused), [1, 0x11]),
        (Check { unknown: true, ..NOMINATION }, Received::Dropped(Drop::StunRefused), [1, 0x11]),
    ] {
        call.out.clear();
        let request = check(&credentials("host"), "peer", kind);
        assert_eq!(stun_ufrag(&request), Some("host"));
        let received = call.deliver_to_host(call.tuple, &mut request.clone());
        assert_eq!(received, expected);
        let head = call.out.heads()[0];
        let bytes = call.out.bytes(&head);
        assert!(bytes.starts_with(&answer) && bytes.len() <= request.len());
        assert_eq!(head.tuple, call.tuple);
    }
}

#[test]
fn a_request_too_short_for_its_answer_gets_none() {
    let mut call = Call::new(Setup::default());
    let far = Tuple { socket: 0, remote: "[2001:db8::7]:9".parse().unwrap() };
    let mut space = [0; 100];
    let mut writer = Writer::new(&mut space, kind::REQUEST, [1; 12]).unwrap();
    writer.attribute(attribute::USERNAME, b"host:").unwrap();
    let length = writer.finish(credentials("host").password.expose()).unwrap();
    assert_eq!(call.deliver_to_host(far, &mut space[..length]), Received::Handled);
    assert!(call.out.is_empty());
}

#[test]
fn media_follows_nomination() {
    let mut call = Call::establish(Setup::default());
    let (first, second) = (call.tuple, tuple(5_001));
    call.check_from(second, Check::default());
    assert_eq!(call.host.selected(), Some(first));
    call.check_from(second, NOMINATION);
    assert_eq!(call.host.selected(), Some(second));
    call.tuple = second;
    call.assert_media_flows(30);
    assert_eq!(call.host.validated().collect::<Vec<_>>(), [first, second]);
}

#[test]
fn without_a_nomination_media_leaves_a_silent_tuple() {
    let mut call = Call::establish(Setup::default());
    let spare = tuple(5_001);
    call.run(4 * SECOND);
    call.check_from(call.tuple, Check::default());
    call.run(4 * SECOND);
    call.check_from(spare, Check::default());
    assert_eq!(call.host.selected(), Some(call.tuple), "4 s are not silence");
    call.run(2 * SECOND);
    call.check_from(spare, Check::default());
    assert_eq!(call.host.selected(), Some(spare));
}

#[test]
fn at_most_eight_tuples_are_kept_and_never_is_the_selected_one_dropped() {
    let mut call = Call::establish(Setup::default());
    call.events.clear();
    for port in 1..=20 {
        call.run(10 * MILLISECOND);
        call.check_from(tuple(port), Check::default());
    }
    assert_eq!(call.host.validated().count(), 8);
    assert!(call.host.validated().any(|tuple| tuple == call.tuple));
    let forgotten: Vec<_> = call
        .events
        .iter()
        .filter_map(|event| match event {
            AssociationEvent::Forgotten(tuple) => Some(tuple.remote.port()),
            _ => None,
        })
        .collect();
    assert_eq!(forgotten, (1..=13).collect::<Vec<_>>());
}

#[test]
fn consent_is_lost_after_thirty_seconds_and_comes_back_before() {
    let mut call = Call::establish(Setup::default());
    call.check_from(call.tuple, Check::default());
    call.run(6 * SECOND - MILLISECOND);
    assert_eq!(call.host.state(), TransportState::Connected);
    call.run(MILLISECOND);
    assert_eq!(call.host.state(), TransportState::Disconnected);
    call.run(20 * SECOND);
    call.check_from(call.tuple, Check::default());
    assert_eq!(call.host.state(), TransportState::Connected);
    call.run(30 * SECOND - MILLISECOND);
    assert_eq!(call.host.state(), TransportState::Disconnected);
    call.run(MILLISECOND);
    call.assert_closed(TransportEnd::ConsentLost);
    let check = call.check_from(call.tuple, NOMINATION);
    assert_eq!(check, Received::Dropped(Drop::Closed));
}

#[test]
fn a_peer_that_never_checks_is_given_up() {
    let mut call = Call::new(Setup::default());
    assert_eq!(call.host.next_timeout(), None);
    call.connect_as("peer", call.client_fingerprint, DtlsRole::Passive);
    call.run(30 * SECOND);
    call.assert_closed(TransportEnd::ConsentLost);
}

#[test]
fn an_ice_restart_keeps_dtls_and_srtp() {
    let mut call = Call::establish(Setup::default());
    call.assert_media_flows(40);
    call.run(20 * SECOND);
    let old = call.host.local().clone();
    call.host.restart_ice(credentials("again"));
    call.connect_as("peer2", call.client_fingerprint, DtlsRole::Passive);
    // Old credentials stay valid until the new are used, but nominate nothing more.
    let moved = tuple(7_000);
    let received = call.deliver_to_host(call.tuple, &mut check(&old, "peer", NOMINATION));
    assert_eq!(received, Received::Handled);
    let new = call.host.local().clone();
    call.deliver_to_host(moved, &mut check(&new, "peer2", NOMINATION));
    assert_eq!(call.host.selected(), Some(moved));
    let received = call.deliver_to_host(call.tuple, &mut check(&old, "peer", NOMINATION));
    assert_eq!(received, Received::Dropped(Drop::StunUnauthenticated));
    assert_eq!(call.host.selected(), Some(moved));
    call.tuple = moved;
    assert_eq!(call.host.state(), TransportState::Connected);
    call.assert_media_flows(50);
}

#[test]
fn a_restart_gives_consent_time_anew() {
    let mut call = Call::establish(Setup::default());
    call.run(25 * SECOND);
    call.connect_as("peer2", call.client_fingerprint, DtlsRole::Passive);
    call.run(25 * SECOND);
    assert_eq!(call.host.state(), TransportState::Disconnected);
    call.run(10 * SECOND);
    call.assert_closed(TransportEnd::ConsentLost);
}

#[test]
fn repeating_connect_changes_nothing() {
    let mut call = Call::establish(Setup::default());
    call.run(25 * SECOND);
    call.connect_as("peer", call.client_fingerprint, DtlsRole::Passive);
    call.run(10 * SECOND);
    call.assert_closed(TransportEnd::ConsentLost);
}

#[test]
fn both_sides_can_say_goodbye() {
    let mut call = Call::establish(Setup::default());
    call.client.close();
    call.exchange();
    call.assert_closed(TransportEnd::PeerClosed);

    let mut call = Call::establish(Setup::default());
    call.host.close(call.now, &mut call.out);
    call.drain_events();
    assert_eq!(call.last_state(), Some((TransportState::Closed, None)));
    call.exchange();
    assert!(call.client_saw_close);
}

#[test]
fn a_peer_that_stops_in_the_handshake_is_given_up() {
    let network: Network = Box::new(|number, datagram| if number < 2 { vec![datagram] } else { Vec::new() });
    let mut call = Call::new(Setup { network, ..Setup::default() });
    call.connect_as("peer", call.client_fingerprint, DtlsRole::Passive);
    for _ in 0..40 {
        call.check_from(call.tuple, NOMINATION);
        call.run(SECOND);
    }
    call.assert_closed(TransportEnd::DtlsFailed);
}

#[test]
fn every_kind_of_drop_has_its_own_counter() {
    for (index, kind) in Drop::ALL.iter().enumerate() {
        assert_eq!(kind.index(), index);
        assert_eq!(Drop::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
    }
}

#[test]
fn random_bytes_neither_panic_nor_get_an_answer() {
    let mut call = Call::establish(Setup::default());
    let mut state = 1u64;
    for round in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = (state >> 40) as usize % 120;
        let mut bytes: Vec<u8> =
            (0..length).map(|at| (state >> (at % 50)) as u8 ^ (at as u8).wrapping_mul(round as u8)).collect();
        if let Some(first) = bytes.first_mut() {
            *first = [0, 22, 23, 128, 144, 129, 70, *first][round % 8];
        }
        call.out.clear();
        let received = call.deliver_to_host(call.tuple, &mut bytes);
        assert!(!matches!(received, Received::Rtp(_) | Received::Rtcp(_)));
        assert_ne!(call.host.state(), TransportState::Closed, "round {round}");
    }
}
