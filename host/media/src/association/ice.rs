//! The lite side of ICE (RFC 8445): answers checks, keeps the tuples that passed one, says where media goes and
//! whether the peer still consents. Sends no checks itself. Knows nothing of DTLS and SRTP.

use super::Drop;
use super::stun::{self, ReadError, Request, Writer, attribute};
use crate::io::{Class, Datagrams, Tuple};
use std::time::{Duration, Instant};
use tidegate_types::transport::IceCredentials;

/// The most tuples one peer may hold. More would let a peer behind a symmetric NAT fill the demultiplexer.
pub(super) const TUPLES: usize = 8;
/// Without a valid check on the selected tuple for this long the peer has withdrawn consent (RFC 7675).
pub(super) const CONSENT: Duration = Duration::from_secs(30);
/// Without one for this long it counts as away. Browsers check a good pair every 2.5 s: two may be lost.
pub(super) const AWAY: Duration = Duration::from_secs(6);
/// After this much silence media follows a check on another tuple without a nomination.
const FOLLOW: Duration = Duration::from_secs(5);
/// A spare tuple without a check for this long is forgotten. Browsers check spares every 25 s.
const SPARE: Duration = Duration::from_secs(60);

const _: () = assert!(FOLLOW.as_nanos() < AWAY.as_nanos() && AWAY.as_nanos() < CONSENT.as_nanos());

/// Error codes of answers.
const UNKNOWN_ATTRIBUTE: u16 = 420;
const ROLE_CONFLICT: u16 = 487;

#[derive(Clone, Copy, Debug)]
struct Validated {
    tuple: Tuple,
    checked: Instant,
}

/// What a check changed in the set of tuples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// New.
    pub(super) validated: Option<Tuple>,
    /// Pushed out by it.
    pub(super) forgotten: Option<Tuple>,
}

/// One peer's ICE state.
#[derive(Debug)]
pub(super) struct Ice {
    local: IceCredentials,
    /// Valid until the new ones are used.
    previous_local: Option<IceCredentials>,
    remote: Option<IceCredentials>,
    /// Its late checks still show consent, but nominate nothing.
    previous_remote_ufrag: Option<String>,
    /// At most [`TUPLES`].
    tuples: Vec<Validated>,
    selected: Option<Tuple>,
    /// Consent is never counted as lost before [`CONSENT`] after this: the first or the latest `connect`.
    consent_from: Option<Instant>,
}

impl Ice {
    pub(super) const fn new(local: IceCredentials) -> Self {
        Self {
            local,
            previous_local: None,
            remote: None,
            previous_remote_ufrag: None,
            tuples: Vec::new(),
            selected: None,
            consent_from: None,
        }
    }

    pub(super) const fn local(&self) -> &IceCredentials {
        &self.local
    }

    pub(super) fn restart(&mut self, local: IceCredentials) {
        if local != self.local {
            self.previous_local = Some(std::mem::replace(&mut self.local, local));
        }
    }

    /// The peer's credentials; a change is its restart, which gives consent time anew.
    pub(super) fn connect(&mut self, remote: IceCredentials, now: Instant) {
        if self.remote.as_ref() == Some(&remote) {
            return;
        }
        self.previous_remote_ufrag = self.remote.replace(remote).map(|previous| previous.ufrag);
        self.consent_from = Some(now);
    }

    pub(super) const fn selected(&self) -> Option<Tuple> {
        self.selected
    }

    pub(super) fn validated(&self) -> impl Iterator<Item = Tuple> + '_ {
        self.tuples.iter().map(|validated| validated.tuple)
    }

    pub(super) fn is_validated(&self, tuple: Tuple) -> bool {
        self.tuples.iter().any(|validated| validated.tuple == tuple)
    }

    /// Takes a tuple as if it had passed a check that nominates.
    pub(super) fn validate(&mut self, now: Instant, tuple: Tuple) {
        self.checked(now, tuple, true);
    }

    /// Takes one STUN datagram; answers it if it is a check that proves our password.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        tuple: Tuple,
        bytes: &[u8],
        out: &mut Datagrams,
    ) -> Result<Changes, Drop> {
        let request = Request::read(bytes).map_err(|error| match error {
            ReadError::Malformed => Drop::StunMalformed,
            ReadError::NotRequest => Drop::StunNotRequest,
        })?;
        let (local_ufrag, remote_ufrag) = request.username.split_once(':').ok_or(Drop::StunMalformed)?;
        let password = self.authenticate(&request, local_ufrag)?.to_owned();
        if let Some(refusal) = Refusal::of(&request) {
            answer(now, tuple, &request, &password, Some(refusal), out);
            return Err(Drop::StunRefused);
        }
        answer(now, tuple, &request, &password, None, out);
        if local_ufrag == self.local.ufrag {
            self.previous_local = None;
        }
        let nominates = request.use_candidate && self.previous_remote_ufrag.as_deref() != Some(remote_ufrag);
        Ok(self.checked(now, tuple, nominates))
    }

    /// The password that the request proves.
    fn authenticate(&self, request: &Request<'_>, ufrag: &str) -> Result<&str, Drop> {
        std::iter::once(&self.local)
            .chain(&self.previous_local)
            .filter(|credentials| credentials.ufrag == ufrag)
            .map(|credentials| credentials.password.expose())
            .find(|password| request.is_signed_with(password))
            .ok_or(Drop::StunUnauthenticated)
    }

    fn checked(&mut self, now: Instant, tuple: Tuple, nominates: bool) -> Changes {
        let changes = self.remember(now, tuple);
        let silent = self.last_check().is_none_or(|checked| now.saturating_duration_since(checked) > FOLLOW);
        if nominates || silent {
            self.selected = Some(tuple);
        }
        changes
    }

    fn remember(&mut self, now: Instant, tuple: Tuple) -> Changes {
        if let Some(known) = self.tuples.iter_mut().find(|validated| validated.tuple == tuple) {
            known.checked = now;
            return Changes::default();
        }
        let forgotten = if self.tuples.len() < TUPLES { None } else { self.forget_oldest() };
        self.tuples.push(Validated { tuple, checked: now });
        Changes { validated: Some(tuple), forgotten }
    }

    fn forget_oldest(&mut self) -> Option<Tuple> {
        let selected = self.selected;
        let spares =
            self.tuples.iter().enumerate().filter(|(_, validated)| Some(validated.tuple) != selected);
        let (oldest, _) = spares.min_by_key(|(_, validated)| validated.checked)?;
        Some(self.tuples.swap_remove(oldest).tuple)
    }

    /// The next spare tuple that was silent for too long.
    pub(super) fn forget_silent(&mut self, now: Instant) -> Option<Tuple> {
        let silent = self.tuples.iter().position(|validated| {
            Some(validated.tuple) != self.selected
                && now.saturating_duration_since(validated.checked) >= SPARE
        })?;
        Some(self.tuples.swap_remove(silent).tuple)
    }

    /// When the selected tuple was last checked.
    fn last_check(&self) -> Option<Instant> {
        let selected = self.selected?;
        self.tuples.iter().find(|validated| validated.tuple == selected).map(|validated| validated.checked)
    }

    /// No valid check on the selected tuple for [`AWAY`].
    pub(super) fn is_away(&self, now: Instant) -> bool {
        self.last_check().is_some_and(|checked| now.saturating_duration_since(checked) >= AWAY)
    }

    /// No valid check on the selected tuple (or none at all since `connect`) for [`CONSENT`].
    pub(super) fn is_consent_lost(&self, now: Instant) -> bool {
        self.consent_until().is_some_and(|until| now >= until)
    }

    fn consent_until(&self) -> Option<Instant> {
        self.last_check().max(self.consent_from).map(|from| from + CONSENT)
    }

    /// When one of the questions above changes its answer, if no check comes.
    pub(super) fn next_timeout(&self, is_away: bool) -> Option<Instant> {
        let away = if is_away { None } else { self.last_check().map(|checked| checked + AWAY) };
        let spares = self.tuples.iter().filter(|validated| Some(validated.tuple) != self.selected);
        let spare = spares.map(|validated| validated.checked + SPARE).min();
        [away, self.consent_until(), spare].into_iter().flatten().min()
    }
}

/// Why an authenticated check is refused.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    UnknownAttribute(u16),
    RoleConflict,
}

impl Refusal {
    fn of(request: &Request<'_>) -> Option<Self> {
        if let Some(attribute) = request.unknown {
            return Some(Self::UnknownAttribute(attribute));
        }
        request.controlled.then_some(Self::RoleConflict)
    }
}

/// Writes the answer; none that would be longer than its request.
fn answer(
    now: Instant,
    tuple: Tuple,
    request: &Request<'_>,
    password: &str,
    refusal: Option<Refusal>,
    out: &mut Datagrams,
) {
    out.write(tuple, now, Class::Control, |space| {
        let space = space.get_mut(..request.length())?;
        match refusal {
            None => Writer::new(space, stun::kind::SUCCESS, request.transaction)?
                .mapped_address(tuple.remote)?
                .finish(password),
            Some(Refusal::RoleConflict) => Writer::new(space, stun::kind::ERROR, request.transaction)?
                .error_code(ROLE_CONFLICT)?
                .finish(password),
            Some(Refusal::UnknownAttribute(unknown)) => {
                Writer::new(space, stun::kind::ERROR, request.transaction)?
                    .error_code(UNKNOWN_ATTRIBUTE)?
                    .attribute(attribute::UNKNOWN_ATTRIBUTES, &unknown.to_be_bytes())?
                    .finish(password)
            }
        }
    });
}
