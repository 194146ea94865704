//! What operators see, as JSON: each view is made from the host's own words, so that those may change without
//! the API. Knows nothing of HTTP.

use crate::operations::PolicyChanged;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tidegate_types::Place;
use tidegate_types::cluster::{Column, ShardRow};
use tidegate_types::decision::{
    DecidedBy, DecisionRecord, Difference, GenerationInfo, Grant, LookupMade, PolicyInfo, ShadowInfo, Wish,
};
use tidegate_types::relay::RelayStats;
use tidegate_types::request::{
    ConsumerDump, PersonDump, Reauthorized, RelayDump, RoomDump, Speaker, TrackView,
};
use utoipa::ToSchema;

/// A shard of a node.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct PlaceName {
    /// Node.
    node: u64,
    /// Shard of it, from 0.
    shard: u16,
}

impl From<Place> for PlaceName {
    fn from(place: Place) -> Self {
        Self { node: place.node.0, shard: place.shard.0 }
    }
}

/// One room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomView {
    /// Its name.
    room: String,
    /// Its router.
    router: u64,
    /// When its first person came, in milliseconds since the Unix epoch.
    since_unix_ms: u64,
    /// How many people are in it.
    people: usize,
    /// How many tracks they send.
    tracks: usize,
    /// How many tracks are being sent to them.
    consumers: usize,
    /// Who speaks, the most dominant first.
    speakers: Vec<SpeakerView>,
}

impl From<&RoomDump> for RoomView {
    fn from(dump: &RoomDump) -> Self {
        Self {
            room: dump.room.clone(),
            router: dump.router.0,
            since_unix_ms: dump.since_unix_ms,
            people: dump.people.len(),
            tracks: dump.people.iter().map(|person| person.tracks.len()).sum(),
            consumers: dump.people.iter().map(|person| person.consumers.len()).sum(),
            speakers: dump.speakers.iter().map(SpeakerView::from).collect(),
        }
    }
}

/// Someone who is heard.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SpeakerView {
    /// The audio track.
    producer: u64,
    /// Whose.
    person: Option<u64>,
    /// Last level in -dBov: 0 loudest, 127 silent.
    level: u8,
}

impl From<&Speaker> for SpeakerView {
    fn from(speaker: &Speaker) -> Self {
        let person = speaker.person.map(|person| person.0);
        Self { producer: speaker.producer.0, person, level: speaker.level }
    }
}

/// One person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PersonView {
    /// Id.
    person: u64,
    /// Name shown.
    name: String,
    /// Who that is in the application's words, where a policy said.
    identity: Option<String>,
    /// The room.
    room: String,
    /// Where the transport stands.
    place: PlaceName,
    /// The transport.
    transport: u64,
    /// `new`, `connecting`, `connected`, `disconnected` or `closed`.
    state: String,
    /// What it may do.
    grant: GrantView,
    /// Producers of the tracks sent.
    producers: Vec<u64>,
    /// What is received.
    consumers: Vec<ConsumerView>,
}

impl PersonView {
    pub(super) fn new(room: &RoomDump, dump: &PersonDump) -> Self {
        Self {
            person: dump.view.person.0,
            name: dump.view.name.clone(),
            identity: dump.view.identity.clone(),
            room: room.room.clone(),
            place: dump.place.into(),
            transport: dump.transport.0,
            state: format!("{:?}", dump.state).to_lowercase(),
            grant: GrantView::from(&dump.grant),
            producers: dump.tracks.iter().map(|track| track.producer.0).collect(),
            consumers: dump.consumers.iter().map(ConsumerView::from).collect(),
        }
    }
}

/// What someone may do, by the grant in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GrantView {
    /// May send tracks.
    publish: bool,
    /// May receive tracks.
    subscribe: bool,
    /// May send messages.
    data: bool,
    /// The only sources it may publish; null is any.
    sources: Option<Vec<String>>,
    /// The most tracks it may publish at once; null leaves it to the host.
    max_tracks: Option<u32>,
    /// Ceiling of what it publishes, in kbit/s.
    ingress_kbps: Option<u32>,
    /// Ceiling of what it is sent, in kbit/s.
    egress_kbps: Option<u32>,
    /// When it ends, in milliseconds since the Unix epoch; null is never.
    expires_unix_ms: Option<u64>,
    /// After how long its policy wishes to be asked again, in milliseconds; null is never.
    ask_again_ms: Option<u32>,
}

impl From<&Grant> for GrantView {
    fn from(grant: &Grant) -> Self {
        Self {
            publish: grant.publish,
            subscribe: grant.subscribe,
            data: grant.data,
            sources: grant.sources.clone(),
            max_tracks: grant.max_tracks,
            ingress_kbps: grant.ingress_kbps,
            egress_kbps: grant.egress_kbps,
            expires_unix_ms: grant.expires_unix_ms,
            ask_again_ms: grant.ask_again_ms,
        }
    }
}

/// What came of asking again about someone inside.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reauthorization {
    /// It stays.
    inside: bool,
    /// The grant in force now, where it stays.
    grant: Option<GrantView>,
    /// Why it is out: short, stable, lower case with hyphens.
    code: Option<String>,
    /// The same in one sentence, as the person was told.
    message: Option<String>,
}

impl From<Reauthorized> for Reauthorization {
    fn from(done: Reauthorized) -> Self {
        match done {
            Reauthorized::Stays(grant) => {
                Self { inside: true, grant: Some(GrantView::from(&*grant)), code: None, message: None }
            }
            Reauthorized::Ended { code, message } => {
                Self { inside: false, grant: None, code: Some(code), message: Some(message) }
            }
        }
    }
}

/// A track as sent to one person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConsumerView {
    /// Id.
    consumer: u64,
    /// Of which track.
    producer: u64,
    /// The simulcast encoding being sent, 0 lowest; null while none.
    encoding: Option<u8>,
    /// What the person's share of the bit rate allows: `full`, `reduced` or `nothing`.
    allowance: String,
}

impl From<&ConsumerDump> for ConsumerView {
    fn from(dump: &ConsumerDump) -> Self {
        Self {
            consumer: dump.consumer.0,
            producer: dump.producer.0,
            encoding: dump.encoding,
            allowance: format!("{:?}", dump.allowance).to_lowercase(),
        }
    }
}

/// One track.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrackRow {
    /// Its producer.
    producer: u64,
    /// Whose.
    person: u64,
    /// In which room.
    room: String,
    /// Where it arrives.
    place: PlaceName,
    /// `camera`, `microphone`, `screen`, or the application's word.
    source: String,
    /// `audio` or `video`.
    kind: String,
    /// Its codec's name.
    codec: String,
    /// How many encodings it has.
    encodings: usize,
    /// Stopped at its source.
    paused: bool,
}

impl TrackRow {
    pub(super) fn new(room: &RoomDump, person: &PersonDump, track: &TrackView) -> Self {
        let rtp = &track.parameters.rtp;
        Self {
            producer: track.producer.0,
            person: track.person.0,
            room: room.room.clone(),
            place: person.place.into(),
            source: track.source.clone(),
            kind: track.parameters.kind.name().to_owned(),
            codec: rtp.codecs.first().map_or("", |codec| codec.codec.sdp_name()).to_owned(),
            encodings: rtp.encodings.len(),
            paused: track.paused,
        }
    }
}

/// One shard with its load.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlaceView {
    /// Which.
    #[serde(flatten)]
    place: PlaceName,
    /// Its node's name.
    node_name: String,
    /// Its node's region; empty if none was given.
    region: String,
    /// Median time from a datagram's arrival to its copies' hand-over to the kernel.
    forward_delay_p50_us: u64,
    /// 99th percentile of the same.
    forward_delay_p99_us: u64,
    /// Age of the oldest waiting packet.
    queue_age_us: u64,
    /// Datagrams in.
    packets_in_per_s: u64,
    /// Datagrams out.
    packets_out_per_s: u64,
    /// Rate in.
    ingress_kbps: u64,
    /// Rate out.
    egress_kbps: u64,
    /// Thousandths of a core.
    cpu_permille: u64,
    /// Transports that stand there.
    transports: u64,
    /// Consumers that stand there.
    consumers: u64,
    /// Ingress promised and not yet reported.
    reserved_ingress_kbps: u64,
    /// Egress promised and not yet reported.
    reserved_egress_kbps: u64,
    /// Transports promised and not yet reported.
    reserved_transports: u64,
    /// Takes nothing new.
    draining: bool,
    /// How much it sheds because it cannot keep up: 0 is nothing, 6 all pictures.
    shed_level: u64,
}

impl From<&ShardRow> for PlaceView {
    fn from(row: &ShardRow) -> Self {
        Self {
            place: row.place.into(),
            node_name: row.node_name.clone(),
            region: row.region.clone(),
            forward_delay_p50_us: row.value(Column::ForwardDelayP50),
            forward_delay_p99_us: row.value(Column::ForwardDelayP99),
            queue_age_us: row.value(Column::QueueAge),
            packets_in_per_s: row.value(Column::PacketsIn),
            packets_out_per_s: row.value(Column::PacketsOut),
            ingress_kbps: row.value(Column::Ingress),
            egress_kbps: row.value(Column::Egress),
            cpu_permille: row.value(Column::Cpu),
            transports: row.value(Column::Transports),
            consumers: row.value(Column::Consumers),
            reserved_ingress_kbps: row.value(Column::ReservedIngress),
            reserved_egress_kbps: row.value(Column::ReservedEgress),
            reserved_transports: row.value(Column::ReservedTransports),
            draining: row.value(Column::Draining) != 0,
            shed_level: row.value(Column::Shedding),
        }
    }
}

/// One copy of a track's demanded layers, carried from place to place.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RelayView {
    /// Id.
    relay: u64,
    /// Of which track.
    producer: u64,
    /// In which router.
    router: u64,
    /// From where.
    from: PlaceName,
    /// To where.
    to: PlaceName,
    /// How many consumers hang on it.
    consumers: u32,
    /// Counters where it begins; null where not read.
    source: Option<RelayCounters>,
    /// Counters where it ends; null where not read.
    sink: Option<RelayCounters>,
}

impl From<&RelayDump> for RelayView {
    fn from(dump: &RelayDump) -> Self {
        Self {
            relay: dump.relay.0,
            producer: dump.producer.0,
            router: dump.router.0,
            from: dump.from.into(),
            to: dump.to.into(),
            consumers: dump.consumers,
            source: dump.source.as_ref().map(RelayCounters::from),
            sink: dump.sink.as_ref().map(RelayCounters::from),
        }
    }
}

/// Counters of one end of a relay.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RelayCounters {
    /// Packets first time.
    packets: u64,
    /// Packets sent or received as repair.
    repaired: u64,
    /// Sequences asked for (sink) or asked of (source).
    nacked: u64,
    /// Given up (sink) or no longer held (source).
    lost: u64,
}

impl From<&RelayStats> for RelayCounters {
    fn from(stats: &RelayStats) -> Self {
        Self { packets: stats.packets, repaired: stats.repaired, nacked: stats.nacked, lost: stats.lost }
    }
}

/// A policy in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyView {
    /// `authorize`, `allocate`, `balance` or `share`.
    decision: String,
    /// Its position in the decision's chain, from 1.
    position: usize,
    /// Which load of which component this is; grows with each swap.
    generation: u64,
    /// Since when it is in force, in milliseconds since the Unix epoch.
    since_unix_ms: u64,
    /// `closed`; `open` while it is not asked because it failed again and again; `probing` when it is tried again.
    breaker: String,
    /// What becomes of a question that it does not answer: `refuse`, `built-in` or `last-good`.
    on_failure: String,
    /// What stood there before, kept for an instant way back; null for `share`: the host's own rule.
    previous: Option<GenerationView>,
    /// What decides beside it without counting.
    shadow: Option<ShadowView>,
    /// What the plugin calls itself.
    name: String,
    /// Its own version.
    version: String,
    /// SHA-256 of the component in force, in hexadecimal.
    digest: String,
    /// `stock`, or the path it came from.
    origin: String,
    /// How long a caller waits at most.
    deadline_ms: u64,
    /// Calls so far.
    calls: u64,
    /// Failures so far, by name.
    failures: BTreeMap<String, u64>,
    /// Median latency of the last calls.
    latency_p50_ns: u64,
    /// 99th percentile of the same.
    latency_p99_ns: u64,
}

impl From<PolicyInfo> for PolicyView {
    fn from(info: PolicyInfo) -> Self {
        Self {
            decision: info.decision.name().to_owned(),
            position: info.position,
            generation: info.generation,
            since_unix_ms: info.since_unix_ms,
            breaker: info.breaker.name().to_owned(),
            on_failure: info.on_failure.name().to_owned(),
            previous: info.previous.map(GenerationView::from),
            shadow: info.shadow.map(ShadowView::from),
            name: info.name,
            version: info.version,
            digest: info.digest,
            origin: info.origin,
            deadline_ms: info.decision.deadline_ms(),
            calls: info.calls,
            failures: info.failures.into_iter().collect(),
            latency_p50_ns: info.latency_p50_ns,
            latency_p99_ns: info.latency_p99_ns,
        }
    }
}

/// One load of one component.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GenerationView {
    /// Its number, never used twice.
    generation: u64,
    /// What the plugin calls itself.
    name: String,
    /// Its own version.
    version: String,
    /// SHA-256 of the component, in hexadecimal.
    digest: String,
    /// `stock`, or the path it came from.
    origin: String,
}

impl From<GenerationInfo> for GenerationView {
    fn from(info: GenerationInfo) -> Self {
        let GenerationInfo { generation, name, version, digest, origin } = info;
        Self { generation, name, version, digest, origin }
    }
}

/// A component on trial.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShadowView {
    /// Which.
    #[serde(flatten)]
    generation: GenerationView,
    /// Questions that it decided, too.
    calls: u64,
    /// How many of them otherwise than the one in force.
    differences: u64,
    /// How many of them not at all.
    failures: u64,
    /// Questions that it was not asked because others waited.
    skipped: u64,
    /// Median latency of the last calls.
    latency_p50_ns: u64,
    /// 99th percentile of the same.
    latency_p99_ns: u64,
    /// The last differences, newest first.
    last: Vec<DifferenceView>,
}

impl From<ShadowInfo> for ShadowView {
    fn from(info: ShadowInfo) -> Self {
        Self {
            generation: info.generation.into(),
            calls: info.calls,
            differences: info.differences,
            failures: info.failures,
            skipped: info.skipped,
            latency_p50_ns: info.latency_p50_ns,
            latency_p99_ns: info.latency_p99_ns,
            last: info.last.into_iter().map(DifferenceView::from).collect(),
        }
    }
}

/// A question that the one on trial decided otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DifferenceView {
    /// The question's number.
    number: u64,
    /// What the one in force answered, or its failure's name.
    #[schema(value_type = Object)]
    in_force: Value,
    /// What the other would have.
    #[schema(value_type = Object)]
    instead: Value,
}

impl From<Difference> for DifferenceView {
    fn from(difference: Difference) -> Self {
        let Difference { number, in_force, instead } = difference;
        Self { number: number.0, in_force: json(in_force), instead: json(instead) }
    }
}

/// What is to take a policy's place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicySwap {
    /// A stock component's name, or a path on the host; `built-in` leaves `share` to the host's own rule.
    pub(super) component: String,
    /// Its configuration; left out, the one in force is kept.
    #[schema(value_type = Option<Object>)]
    pub(super) configuration: Option<Value>,
    /// Only beside the one in force at first: both decide, one counts.
    #[serde(default)]
    pub(super) shadow: bool,
    /// Which of a chain, from 1; 1 where nothing is said.
    pub(super) position: Option<u32>,
}

/// What became of a policy.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyChangedView {
    /// What came: in force, in the shadow, or gone from there; null: the host's own rule.
    generation: Option<GenerationView>,
    /// What was in force before; null: the host's own rule, or nothing has changed in force.
    before: Option<GenerationView>,
    /// How long it took to make it ready, at low priority, while calls went on.
    prepared_us: u64,
    /// How long it took from ready until in force.
    took_ns: u64,
}

impl From<PolicyChanged> for PolicyChangedView {
    fn from(changed: PolicyChanged) -> Self {
        Self {
            generation: changed.generation.map(GenerationView::from),
            before: changed.before.map(GenerationView::from),
            prepared_us: u64::try_from(changed.prepared_in.as_micros()).unwrap_or(u64::MAX),
            took_ns: u64::try_from(changed.took.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// Text that is JSON as such, any other as a string.
fn json(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// One policy's part in a decision.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecidedByView {
    /// Its generation.
    generation: u64,
    /// What the plugin calls itself.
    name: String,
    /// SHA-256 of the component, in hexadecimal.
    digest: String,
    /// Whether it was asked; in a chain the first refusal ends the asking.
    asked: bool,
    /// Its failure's name; null where it answered.
    failure: Option<String>,
    /// The generation that answered in its stead.
    instead: Option<u64>,
}

impl From<DecidedBy> for DecidedByView {
    fn from(by: DecidedBy) -> Self {
        Self {
            generation: by.generation,
            name: by.name,
            digest: by.digest,
            asked: by.asked,
            failure: by.failure.map(|failure| failure.name().to_owned()),
            instead: by.instead,
        }
    }
}

/// One decision as it was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecisionView {
    /// The question's number.
    number: u64,
    /// When, in milliseconds since the Unix epoch.
    unix_ms: u64,
    /// `authorize`, `allocate`, `balance` or `share`.
    decision: String,
    /// Digest of the plugin that had the last word.
    digest: String,
    /// Every policy of the chain, with the generation of it that this decision met.
    by: Vec<DecidedByView>,
    /// What went wrong inside a plugin: the reason and where in it, innermost first.
    trouble: Option<String>,
    /// What was asked, as the policy saw it; tokens as a hash only.
    #[schema(value_type = Object)]
    question: Value,
    /// What it answered, or the failure's name.
    #[schema(value_type = Object)]
    outcome: Value,
    /// The failure's name; null where the plugin answered.
    failure: Option<String>,
    /// Time in the queue.
    waited_ns: u64,
    /// Time in the plugin.
    latency_ns: u64,
    /// What was looked up for it, in order.
    lookups: Vec<LookupView>,
}

/// A lookup that a decision needed: neither key nor value.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LookupView {
    /// The configured lookup.
    lookup: String,
    /// `found`, or why not: `timeout`, `status-404`.
    outcome: String,
    /// How long it took.
    took_ns: u64,
}

impl From<LookupMade> for LookupView {
    fn from(made: LookupMade) -> Self {
        Self { lookup: made.lookup, outcome: made.outcome, took_ns: made.took_ns }
    }
}

impl From<DecisionRecord> for DecisionView {
    fn from(record: DecisionRecord) -> Self {
        Self {
            number: record.number.0,
            unix_ms: record.unix_ms,
            decision: record.decision.name().to_owned(),
            digest: record.digest,
            by: record.by.into_iter().map(DecidedByView::from).collect(),
            trouble: record.trouble,
            question: json(record.question),
            outcome: json(record.outcome),
            failure: record.failure.map(|failure| failure.name().to_owned()),
            waited_ns: record.waited_ns,
            latency_ns: record.latency_ns,
            lookups: record.lookups.into_iter().map(LookupView::from).collect(),
        }
    }
}

/// Where a transport is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Destination {
    /// A shard of the server where it stands.
    pub(super) shard: u16,
}

/// One change that the balance policy wished for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WishView {
    /// When, in milliseconds since the Unix epoch.
    unix_ms: u64,
    /// `move`, `drain`, `grow`, `shrink`, or the policy's own word.
    action: String,
    /// Off which place.
    from: Option<PlaceName>,
    /// To which place.
    to: Option<PlaceName>,
    /// How many of `unit`.
    amount: u64,
    /// `transports` or `kbps`.
    unit: String,
    /// One sentence.
    reason: String,
}

impl From<&(u64, Wish)> for WishView {
    fn from((unix_ms, wish): &(u64, Wish)) -> Self {
        Self {
            unix_ms: *unix_ms,
            action: wish.action.clone(),
            from: wish.from.map(PlaceName::from),
            to: wish.to.map(PlaceName::from),
            amount: wish.amount,
            unit: wish.unit.clone(),
            reason: wish.reason.clone(),
        }
    }
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident, $field:ident: $item:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, ToSchema)]
        pub(super) struct $name {
            $(#[$doc])*
            pub(super) $field: Vec<$item>,
        }
    )*};
}

lists! {
    /// All rooms.
    Rooms, rooms: RoomView;
    /// Everyone, with where they sit.
    People, people: PersonView;
    /// All tracks.
    Tracks, tracks: TrackRow;
    /// All shards with their load.
    Places, places: PlaceView;
    /// All relays.
    Relays, relays: RelayView;
    /// The policies in force.
    Policies, policies: PolicyView;
    /// The last decisions, newest first.
    Decisions, decisions: DecisionView;
    /// The balance policy's last wishes, newest last.
    Wishes, wishes: WishView;
}
