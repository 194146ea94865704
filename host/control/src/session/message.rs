//! The words of PROTOCOL.md: reads what a client says, writes what the host says. Knows nothing of their order.

use crate::problem::Problem;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_types::command::TransportDump;
use tidegate_types::consumer::Allowance;
use tidegate_types::data::TEXT_BYTES;
use tidegate_types::decision::{Attr, Grant};
use tidegate_types::request::{PersonView, Speaker, TrackView};
use tidegate_types::rtp::Codec;
use tidegate_types::transport::TransportState;
use tidegate_types::{ConsumerId, MediaKind, PersonId, Place, ProducerId, Secret};

/// The most bytes of one message: an offer of a large room is by far the longest.
pub(crate) const MESSAGE_BYTES: usize = 256 * 1024;
const ROOM_LETTERS: usize = 128;
const NAME_LETTERS: usize = 64;
const SOURCE_LETTERS: usize = 32;
const TOKEN_BYTES: usize = 16 * 1024;
const ATTRS: usize = 32;
const ATTR_LETTERS: usize = 1_024;
const TRACKS: usize = 64;

/// A numbered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// The client's number for it.
    pub(crate) id: u64,
    /// What is asked.
    pub(crate) body: ClientMessage,
}

/// What a client can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientMessage {
    Join(Join),
    Resume(Secret),
    Offer(OfferMessage),
    Pause(ProducerId),
    Continue(ProducerId),
    CloseTrack(ProducerId),
    Subscribe(ProducerId),
    Unsubscribe(ProducerId),
    Layers { producer: ProducerId, spatial: u8, temporal: Option<u8> },
    Message(String),
    Stats,
    Leave,
}

/// `join`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) room: String,
    pub(crate) name: String,
    pub(crate) token: Secret,
    pub(crate) attrs: Vec<Attr>,
    /// Tracks are wanted unasked; else only those that it subscribes to.
    pub(crate) takes_all: bool,
    /// It publishes, and hears no messages.
    pub(crate) told_by_ceiling: bool,
}

impl Join {
    /// That of a door whose clients say it without JSON; held to the same bounds.
    pub(crate) fn outside(room: &str, name: &str, token: Secret) -> Result<Self, Problem> {
        let room = label("/room", &Value::from(room), ROOM_LETTERS)?;
        let name =
            if name.is_empty() { String::new() } else { label("/name", &Value::from(name), NAME_LETTERS)? };
        if token.expose().len() > TOKEN_BYTES {
            return Err(Problem::schema("/token", format!("a token has at most {TOKEN_BYTES} bytes")));
        }
        Ok(Self { room, name, token, attrs: Vec::new(), takes_all: false, told_by_ceiling: false })
    }
}

/// `offer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfferMessage {
    pub(crate) sdp: String,
    /// mid and source of each sending section.
    pub(crate) tracks: Vec<(String, String)>,
}

/// What a message that cannot be read is answered: the id where that much could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) id: Option<u64>,
    pub(crate) problem: Problem,
}

/// Reads one message.
pub(crate) fn read(text: &str) -> Result<Numbered, Unreadable> {
    let without_id = |problem| Unreadable { id: None, problem };
    if text.len() > MESSAGE_BYTES {
        let detail = format!("a message holds at most {MESSAGE_BYTES} bytes");
        return Err(without_id(Problem::schema("", detail)));
    }
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return Err(without_id(Problem::schema("", "a message is one JSON object")));
    };
    let fields = Fields(&object);
    let id = fields.number("id", u64::MAX).map_err(without_id)?;
    read_body(&fields)
        .map(|body| Numbered { id, body })
        .map_err(|problem| Unreadable { id: Some(id), problem })
}

/// What a fuzzer calls: reads arbitrary bytes as a client's message. Must not panic; a refusal must be a message of
/// the host that names its number where that could be read.
pub fn fuzz_message(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Err(Unreadable { id, problem }) = read(&text) else { return };
    let refusal = HostMessage::Error { id, problem }.to_text();
    let written: Value = serde_json::from_str(&refusal).expect("what is written can be read");
    assert_eq!(written.get("id").and_then(Value::as_u64), id);
    assert_eq!(written.get("status"), Some(&Value::from(400)));
}

fn read_body(fields: &Fields<'_>) -> Result<ClientMessage, Problem> {
    Ok(match fields.text("type", 64)?.as_str() {
        "join" => ClientMessage::Join(Join {
            room: fields.label("room", ROOM_LETTERS)?,
            name: fields.optional_label("name", NAME_LETTERS)?,
            token: Secret::new(fields.optional_text("token", TOKEN_BYTES)?.unwrap_or_default()),
            attrs: fields.attrs()?,
            takes_all: true,
            told_by_ceiling: false,
        }),
        "resume" => ClientMessage::Resume(Secret::new(fields.text("resume", 128)?)),
        "offer" => ClientMessage::Offer(OfferMessage {
            sdp: fields.text("sdp", MESSAGE_BYTES)?,
            tracks: fields.tracks()?,
        }),
        "pause" => ClientMessage::Pause(fields.producer()?),
        "continue" => ClientMessage::Continue(fields.producer()?),
        "close-track" => ClientMessage::CloseTrack(fields.producer()?),
        "subscribe" => ClientMessage::Subscribe(fields.producer()?),
        "unsubscribe" => ClientMessage::Unsubscribe(fields.producer()?),
        "layers" => ClientMessage::Layers {
            producer: fields.producer()?,
            spatial: fields.small("spatial")?,
            temporal: fields.has("temporal").then(|| fields.small("temporal")).transpose()?,
        },
        "message" => ClientMessage::Message(fields.text("text", TEXT_BYTES)?),
        "stats" => ClientMessage::Stats,
        "leave" => ClientMessage::Leave,
        _ => {
            let mut problem = Problem::schema("/type", "this host knows no message of that type");
            problem.code = "unknown-type".into();
            return Err(problem);
        }
    })
}

/// A message's fields; every failure names its own.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// Present and not null.
    fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    fn number(&self, name: &str, most: u64) -> Result<u64, Problem> {
        self.0.get(name).and_then(Value::as_u64).filter(|number| *number <= most).ok_or_else(|| {
            Problem::schema(pointer(name), format!("{name} is a whole number from 0 to {most}"))
        })
    }

    fn small(&self, name: &str) -> Result<u8, Problem> {
        self.number(name, u64::from(u8::MAX)).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
    }

    fn producer(&self) -> Result<ProducerId, Problem> {
        self.number("producer", u64::MAX).map(ProducerId)
    }

    fn text(&self, name: &str, most: usize) -> Result<String, Problem> {
        let value =
            self.0.get(name).ok_or_else(|| Problem::schema(pointer(name), format!("{name} is missing")))?;
        text(&pointer(name), value, most)
    }

    fn optional_text(&self, name: &str, most: usize) -> Result<Option<String>, Problem> {
        self.has(name).then(|| self.text(name, most)).transpose()
    }

    /// A text that people read: not empty, no control characters.
    fn label(&self, name: &str, most: usize) -> Result<String, Problem> {
        let value =
            self.0.get(name).ok_or_else(|| Problem::schema(pointer(name), format!("{name} is missing")))?;
        label(&pointer(name), value, most)
    }

    fn optional_label(&self, name: &str, most: usize) -> Result<String, Problem> {
        let empty = self.0.get(name).is_none_or(|value| value.is_null() || value == "");
        if empty { Ok(String::new()) } else { self.label(name, most) }
    }

    fn attrs(&self) -> Result<Vec<Attr>, Problem> {
        if !self.has("attrs") {
            return Ok(Vec::new());
        }
        let attrs = self.0.get("attrs").and_then(Value::as_object).filter(|attrs| attrs.len() <= ATTRS);
        let attrs = attrs.ok_or_else(|| {
            Problem::schema("/attrs", format!("attrs is an object of at most {ATTRS} strings"))
        })?;
        let read = |(name, value): (&String, &Value)| {
            let at = format!("/attrs/{}", name.replace('~', "~0").replace('/', "~1"));
            if name.chars().count() > NAME_LETTERS {
                return Err(Problem::schema("/attrs", format!("a name has at most {NAME_LETTERS} letters")));
            }
            Ok(Attr { name: name.clone(), value: text(&at, value, ATTR_LETTERS)? })
        };
        attrs.iter().map(read).collect()
    }

    fn tracks(&self) -> Result<Vec<(String, String)>, Problem> {
        if !self.has("tracks") {
            return Ok(Vec::new());
        }
        let tracks = self.0.get("tracks").and_then(Value::as_array).filter(|tracks| tracks.len() <= TRACKS);
        let tracks = tracks
            .ok_or_else(|| Problem::schema("/tracks", format!("tracks is a list of at most {TRACKS}")))?;
        let member = |index: usize, track: &Value, name: &str| {
            let at = format!("/tracks/{index}/{name}");
            let value =
                track.get(name).ok_or_else(|| Problem::schema(at.as_str(), format!("{name} is missing")))?;
            label(&at, value, SOURCE_LETTERS)
        };
        let read = |(index, track)| Ok((member(index, track, "mid")?, member(index, track, "source")?));
        tracks.iter().enumerate().map(read).collect()
    }
}

fn pointer(name: &str) -> String {
    format!("/{name}")
}

fn text(at: &str, value: &Value, most: usize) -> Result<String, Problem> {
    let text = value.as_str().filter(|text| text.len() <= most);
    let wanted = || Problem::schema(at, format!("{at} is a string of at most {most} bytes"));
    text.map(str::to_owned).ok_or_else(wanted)
}

fn label(at: &str, value: &Value, most: usize) -> Result<String, Problem> {
    let text = value.as_str().map(str::trim).filter(|text| {
        !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
    });
    let wanted =
        || Problem::schema(at, format!("{at} is a string of 1 to {most} letters without control characters"));
    text.map(str::to_owned).ok_or_else(wanted)
}

/// What the host says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum HostMessage {
    Ok {
        id: u64,
        #[serde(flatten)]
        body: OkBody,
    },
    Error {
        id: Option<u64>,
        #[serde(flatten)]
        problem: Problem,
    },
    Negotiate {
        audio: usize,
        video: usize,
    },
    PersonJoined(PersonMessage),
    PersonLeft {
        person: PersonId,
    },
    TrackPublished(TrackMessage),
    TrackEnded {
        producer: ProducerId,
    },
    TrackPaused {
        producer: ProducerId,
        paused: bool,
    },
    TrackUnplayable {
        producer: ProducerId,
        code: &'static str,
        message: String,
    },
    Speakers {
        speakers: Vec<SpeakerMessage>,
    },
    Layer {
        producer: ProducerId,
        encoding: Option<u8>,
        allowance: Allowance,
    },
    Watched {
        producer: ProducerId,
        encodings: Vec<bool>,
    },
    Transport {
        state: TransportState,
    },
    Message {
        person: PersonId,
        text: String,
    },
    MessageRefused {
        channel: String,
        code: &'static str,
        message: &'static str,
    },
    GrantChanged {
        grant: Box<Grant>,
    },
    TrackRevoked {
        producer: ProducerId,
        code: String,
        message: String,
    },
    Ended {
        code: String,
        message: String,
        rejoin: bool,
    },
}

/// What an `ok` carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum OkBody {
    Entered(Box<Entered>),
    Answer(Answered),
    Stats { stats: Box<TransportDump> },
    Done {},
}

/// The `ok` of `join` and `resume`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Entered {
    pub(crate) person: PersonId,
    pub(crate) name: String,
    pub(crate) room: String,
    pub(crate) resume: String,
    pub(crate) people: Vec<PersonMessage>,
    pub(crate) tracks: Vec<TrackMessage>,
    pub(crate) grant: Grant,
    pub(crate) place: Place,
}

/// The `ok` of `offer`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Answered {
    pub(crate) sdp: String,
    pub(crate) published: Vec<PublishedMessage>,
    pub(crate) receiving: Vec<ReceivingMessage>,
    pub(crate) refused: Vec<RefusedMessage>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PublishedMessage {
    pub(crate) mid: String,
    pub(crate) producer: ProducerId,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ReceivingMessage {
    pub(crate) mid: String,
    pub(crate) producer: ProducerId,
    pub(crate) person: PersonId,
    pub(crate) source: String,
    pub(crate) kind: MediaKind,
    pub(crate) consumer: ConsumerId,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RefusedMessage {
    pub(crate) mid: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PersonMessage {
    pub(crate) person: PersonId,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
}

impl From<&PersonView> for PersonMessage {
    fn from(view: &PersonView) -> Self {
        Self { person: view.person, name: view.name.clone(), identity: view.identity.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TrackMessage {
    pub(crate) producer: ProducerId,
    pub(crate) person: PersonId,
    pub(crate) source: String,
    pub(crate) kind: MediaKind,
    pub(crate) paused: bool,
    pub(crate) encodings: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) codec: Option<Codec>,
}

impl From<&TrackView> for TrackMessage {
    fn from(view: &TrackView) -> Self {
        Self {
            producer: view.producer,
            person: view.person,
            source: view.source.clone(),
            kind: view.parameters.kind,
            paused: view.paused,
            encodings: view.parameters.rtp.encodings.len(),
            codec: view.parameters.rtp.codecs.first().map(|codec| codec.codec),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SpeakerMessage {
    pub(crate) producer: ProducerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<PersonId>,
    pub(crate) level: u8,
}

impl From<&Speaker> for SpeakerMessage {
    fn from(speaker: &Speaker) -> Self {
        Self { producer: speaker.producer, person: speaker.person, level: speaker.level }
    }
}

impl HostMessage {
    /// An `ok` that carries nothing.
    pub(crate) const fn done(id: u64) -> Self {
        Self::Ok { id, body: OkBody::Done {} }
    }

    /// The message as it goes over the socket.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            let detail = format!("a message could not be written: {error}");
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unwritable", detail);
            serde_json::json!({ "type": "error", "id": null, "status": problem.status, "code": problem.code, "title": problem.title, "detail": problem.detail })
                .to_string()
        })
    }
}
