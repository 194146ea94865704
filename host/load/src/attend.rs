//! One person's stay: joins, offers as often as the host asks for sections, leaves. Knows nothing of packets.

use crate::bot::Meeting;
use crate::channel::{Channel, SessionError};
use crate::crew::Crew;
use crate::foreign::{Foreign, Ledger};
use crate::scenario::Person;
use crate::sdp::{self, Answer, Section, Sends};
use crate::tally::Tally;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate_trust::Target;
use tidegate_types::MediaKind;
use tidegate_types::transport::Fingerprint;
use tokio::sync::watch;
use tokio_rustls::rustls::ClientConfig;

/// How often somebody asks a busy host again before giving up.
const AGAIN: u32 = 4;
/// Those who were sent away together do not come back together.
const APART: Duration = Duration::from_millis(70);

/// What all bots share.
pub(crate) struct Context {
    pub(crate) target: Target,
    /// Where the host is served over TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) token: String,
    pub(crate) bots: Bots,
    /// Bots with an open session.
    pub(crate) inside: AtomicU64,
    /// Bytes of the largest offer or answer.
    pub(crate) largest_sdp: AtomicU64,
    /// How often somebody was told that the host is busy, and asked again.
    pub(crate) asked_again: AtomicU64,
}

/// Who carries the bots' media.
pub(crate) enum Bots {
    /// The engine's own parts, on threads of their own; all show the same certificate.
    Engine(Crew, Fingerprint),
    /// The `webrtc` crate, on the runtime's.
    Webrtc(Arc<Ledger>),
}

impl Bots {
    /// What all counted so far.
    pub(crate) fn tally(&self) -> Tally {
        match self {
            Self::Engine(crew, _) => crew.tally(),
            Self::Webrtc(ledger) => ledger.tally(),
        }
    }

    /// Ends threads.
    pub(crate) fn stop(&self) {
        match self {
            Self::Engine(crew, _) => crew.stop(),
            Self::Webrtc(_) => {}
        }
    }
}

/// From the opening of the session until the host ends it or `stop` says so.
pub(crate) async fn attend(
    person: Person,
    context: &Context,
    mut stop: watch::Receiver<bool>,
) -> Result<(), SessionError> {
    let came = tokio::select! {
        came = come(&person, context) => came?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    let (mut channel, joined, began) = came;
    context.inside.fetch_add(1, Ordering::Relaxed);
    let mut stay = Stay::new(person, context, &joined, began);
    let ended = stay.run(&mut channel, &mut stop).await;
    stay.end().await;
    context.inside.fetch_sub(1, Ordering::Relaxed);
    if ended.is_ok() {
        // Whoever leaves does not mind what the host says to it.
        let _ = channel.ask(json!({ "type": "leave" })).await;
        channel.close().await;
    }
    ended
}

/// Joins, and asks a busy host again for a while; with the moment at which the session that came about was opened.
async fn come(person: &Person, context: &Context) -> Result<(Channel, Value, Instant), SessionError> {
    let mut tries = 0;
    loop {
        let began = Instant::now();
        match join(person, context).await {
            Ok((channel, joined)) => return Ok((channel, joined, began)),
            Err(SessionError::Busy(_, wait)) if tries < AGAIN => {
                tries += 1;
                context.asked_again.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(wait + APART * (person.number % 16)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn join(person: &Person, context: &Context) -> Result<(Channel, Value), SessionError> {
    let source = source(&context.target, person.number);
    let mut channel = Channel::open(&context.target, context.tls.as_ref(), source).await?;
    let mut request = json!({ "type": "join", "room": person.room, "name": person.name });
    if !context.token.is_empty() {
        request["token"] = context.token.as_str().into();
    }
    let joined = channel.ask(request).await?;
    Ok((channel, joined))
}

/// On a loopback network every bot comes from an address of its own, as people do: the host bounds what one address
/// may ask for.
fn source(target: &Target, number: u32) -> Option<IpAddr> {
    let [_, second, third, fourth] = (number + 1).to_be_bytes();
    let own = Ipv4Addr::new(127, 64 | (second & 0x3f), third, fourth);
    let loopback = target.address().is_ipv4() && target.address().ip().is_loopback();
    (loopback && cfg!(target_os = "linux")).then_some(IpAddr::V4(own))
}

/// What the first offer holds: what the person sends, and room for what is there. At least one section a kind, so that
/// a lone viewer has a transport.
fn sections(person: &Person, joined: &Value) -> Vec<Section> {
    let mut sections = sending(person);
    let tracks = joined["tracks"].as_array().map(Vec::as_slice).unwrap_or_default();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let there = tracks.iter().filter(|track| track["kind"] == kind.name()).count();
        grow(&mut sections, kind, there.max(1));
    }
    sections
}

/// One section a track, which may have several encodings.
fn sending(person: &Person) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for source in &person.sources {
        match (sections.last_mut(), source.rid) {
            (Some(Section { mid, sends: Some(Sends::Encodings(rids)), .. }), Some(rid))
                if *mid == source.mid =>
            {
                rids.push(rid);
            }
            (_, rid) => sections.push(Section {
                mid: source.mid.clone(),
                kind: source.content.kind(),
                sends: Some(match rid {
                    Some(rid) => Sends::Encodings(vec![rid]),
                    None => Sends::One(source.ssrc, source.repair_ssrc),
                }),
            }),
        }
    }
    sections
}

/// Adds receiving sections of a kind until there are so many.
fn grow(sections: &mut Vec<Section>, kind: MediaKind, wanted: usize) {
    let receives = |section: &&Section| section.kind == kind && section.sends.is_none();
    let there = sections.iter().filter(receives).count();
    let room = (sdp::SECTIONS as usize).saturating_sub(sections.len());
    let letter = &kind.name()[..1];
    sections.extend(
        (there..wanted).take(room).map(|number| Section::receiving(format!("{letter}{number}"), kind)),
    );
}

struct Stay<'a> {
    person: Person,
    context: &'a Context,
    began: Instant,
    sections: Vec<Section>,
    offers: u32,
    /// The media side has begun.
    met: bool,
    /// The media side where it is no crew's.
    foreign: Option<Foreign>,
    /// Own producers by their number: the mid of each.
    published: BTreeMap<u64, String>,
}

impl<'a> Stay<'a> {
    fn new(person: Person, context: &'a Context, joined: &Value, began: Instant) -> Self {
        let sections = sections(&person, joined);
        let (met, foreign, published) = (false, None, BTreeMap::new());
        Self { person, context, began, sections, offers: 0, met, foreign, published }
    }

    async fn end(&mut self) {
        match (&self.context.bots, self.foreign.take()) {
            (Bots::Engine(crew, _), _) => crew.leave(self.person.number),
            (Bots::Webrtc(_), Some(foreign)) => foreign.close().await,
            (Bots::Webrtc(_), None) => {}
        }
    }

    async fn run(
        &mut self,
        channel: &mut Channel,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), SessionError> {
        self.offer(channel).await?;
        loop {
            let told = tokio::select! {
                told = channel.told() => told?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            match told["type"].as_str() {
                Some("negotiate") => {
                    for (kind, field) in [(MediaKind::Audio, "audio"), (MediaKind::Video, "video")] {
                        let wanted = told[field].as_u64().and_then(|wanted| usize::try_from(wanted).ok());
                        grow(&mut self.sections, kind, wanted.unwrap_or(0));
                    }
                    self.offer(channel).await?;
                }
                Some("watched") => self.watch(&told),
                Some("ended") => {
                    let code = told["code"].as_str().unwrap_or("without a code");
                    return Err(SessionError::Broken(format!("the host ended the session: {code}")));
                }
                _ => {}
            }
        }
    }

    async fn offer(&mut self, channel: &mut Channel) -> Result<(), SessionError> {
        self.offers += 1;
        match &self.context.bots {
            Bots::Engine(crew, fingerprint) => self.offer_engine(channel, crew, *fingerprint).await,
            Bots::Webrtc(ledger) => self.offer_foreign(channel, ledger).await,
        }
    }

    async fn offer_engine(
        &mut self,
        channel: &mut Channel,
        crew: &Crew,
        fingerprint: Fingerprint,
    ) -> Result<(), SessionError> {
        let credentials = self.person.credentials.clone();
        let text = sdp::offer(&self.sections, &credentials, fingerprint, self.offers);
        let answer = self.answer(channel, &text).await?;
        let answer = Answer::read(&answer).map_err(|error| SessionError::Broken(error.to_string()))?;
        if !std::mem::replace(&mut self.met, true) {
            let session = self.context.target.address().ip();
            let engine = answer.engine(session).ok_or_else(|| SessionError::Broken("no candidate".into()))?;
            let (sources, began) = (self.person.sources.clone(), self.began);
            crew.enter(
                self.person.number,
                Meeting { credentials, local: answer.local, engine, sources, began },
            );
        }
        crew.expect(self.person.number, answer.streams);
        Ok(())
    }

    async fn offer_foreign(
        &mut self,
        channel: &mut Channel,
        ledger: &Arc<Ledger>,
    ) -> Result<(), SessionError> {
        let broken = |error: webrtc::error::Error| SessionError::Broken(format!("webrtc: {error}"));
        let mut foreign = match self.foreign.take() {
            Some(foreign) => foreign,
            None => {
                let host = self.context.target.address().ip();
                Foreign::new(&self.person, ledger, host, self.began).await.map_err(broken)?
            }
        };
        let offered = foreign.offer(&mut self.sections).await;
        // Kept whatever goes wrong, so that it is ended in order.
        self.foreign = Some(foreign);
        let offer = offered.map_err(broken)?;
        let answer = self.answer(channel, &offer).await?;
        match &mut self.foreign {
            Some(foreign) => foreign.accept(&answer).await.map_err(broken),
            None => Ok(()),
        }
    }

    /// The host's answer to an offer.
    async fn answer(&mut self, channel: &mut Channel, offer: &str) -> Result<String, SessionError> {
        let answer = channel.ask(json!({ "type": "offer", "sdp": offer, "tracks": self.tracks() })).await?;
        self.note_published(&answer);
        let answer = answer["sdp"].as_str().unwrap_or_default().to_owned();
        self.context.largest_sdp.fetch_max(offer.len().max(answer.len()) as u64, Ordering::Relaxed);
        Ok(answer)
    }

    fn note_published(&mut self, answer: &Value) {
        let told = answer["published"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.published.extend(told.iter().filter_map(|published| {
            Some((published["producer"].as_u64()?, published["mid"].as_str()?.to_owned()))
        }));
    }

    /// As browsers do, the bot stops sending what nobody watches.
    fn watch(&self, told: &Value) {
        let mid = told["producer"].as_u64().and_then(|producer| self.published.get(&producer));
        let (Some(mid), Some(encodings)) = (mid, told["encodings"].as_array()) else { return };
        let watched: Vec<bool> = encodings.iter().map(|watched| watched.as_bool().unwrap_or(true)).collect();
        match (&self.context.bots, &self.foreign) {
            (Bots::Engine(crew, _), _) => crew.watch(self.person.number, mid.clone(), watched),
            (Bots::Webrtc(_), Some(foreign)) => foreign.watch(mid, &watched),
            (Bots::Webrtc(_), None) => {}
        }
    }

    fn tracks(&self) -> Value {
        let source = |kind| if kind == MediaKind::Audio { "microphone" } else { "camera" };
        self.sections
            .iter()
            .filter(|section| section.sends.is_some())
            .map(|section| json!({ "mid": section.mid, "source": source(section.kind) }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{MediaKind, Section, Target, grow, source};

    #[test]
    fn sections_are_added_and_never_moved_or_multiplied() {
        let mut sections = Vec::new();
        grow(&mut sections, MediaKind::Audio, 1);
        grow(&mut sections, MediaKind::Video, 2);
        grow(&mut sections, MediaKind::Audio, 2);
        grow(&mut sections, MediaKind::Video, 1);
        let mids: Vec<&str> = sections.iter().map(|section: &Section| section.mid.as_str()).collect();
        assert_eq!(mids, ["a0", "v0", "v1", "a1"]);
        grow(&mut sections, MediaKind::Video, 1_000);
        assert_eq!(sections.len(), 128);
    }

    #[test]
    fn bots_of_a_loopback_host_come_from_addresses_of_their_own() {
        let target = |url| Target::read(url).expect("an address");
        let local = target("http://127.0.0.1:1");
        assert_ne!(source(&local, 0), source(&local, 1));
        assert!(source(&local, 70_000).is_none_or(|ip| ip.is_loopback()));
        assert_eq!(source(&target("http://192.0.2.1:1"), 0), None);
    }
}
