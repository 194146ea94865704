//! Between the SDK's words, in which cases are written, and the host's own, in which policies are asked. Knows
//! nothing of files.

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tidegate_sdk::cases::{self, AuthorizeForm, BalanceForm, Case, PlaceForm, Row, ShareForm};
use tidegate_sdk::{Attr as SdkAttr, Bitrate, Refusal as SdkRefusal, UnixTime};
use tidegate_sdk::{
    allocate as sdk_allocate, authorize as sdk_authorize, balance as sdk_balance, share as sdk_share,
};
use tidegate_types::cluster::{Column, Feed, ShardRow};
use tidegate_types::decision::{
    Action, AnswerBody, Attr, AuthorizeAnswer, AuthorizeRequest, BalanceCause, BalanceRequest, Grant,
    LookupResult, Moment, Parent, PlaceAnswer, PlaceKind, PlaceRequest, QuestionBody, Refusal, RouterAtPlace,
    Wish,
};
use tidegate_types::sharing::{Portion, ReceiverRates, ShareAnswer, SharePerson, ShareRequest, ShareTrack};
use tidegate_types::{MediaKind, NodeId, PersonId, Place, ProducerId, Secret, ShardIndex};

/// One question, with all that must be known before.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The policy's configuration.
    pub(crate) config: Value,
    /// The lookups that it is told of.
    pub(crate) lookups: Vec<String>,
    /// The shards; none for authorize.
    pub(crate) rows: Vec<ShardRow>,
    pub(crate) body: QuestionBody,
    /// How often it is asked.
    pub(crate) repeat: u32,
}

impl Asked {
    /// What must be told first.
    pub(crate) fn feed(&self) -> Feed {
        Feed::Reset { generation: 1, rows: self.rows.clone() }
    }

    /// The answer in the words of cases.
    pub(crate) fn told(&self, answer: AnswerBody) -> Value {
        let row = |place: Place| {
            let position = self.rows.iter().position(|row| row.place == place);
            position.and_then(|position| u32::try_from(position).ok()).unwrap_or(u32::MAX)
        };
        match answer {
            AnswerBody::Authorize(answer) => cases::of_authorize(&authorize_answer(answer)),
            AnswerBody::Place(PlaceAnswer::Place(placement)) => {
                cases::of_place(&Ok(sdk_allocate::Placement {
                    row: row(placement.place),
                    attrs: attrs_out(placement.attrs),
                }))
            }
            AnswerBody::Place(PlaceAnswer::Refuse(refusal)) => cases::of_place(&Err(refusal_out(refusal))),
            AnswerBody::Balance(answer) => {
                let wishes: Vec<_> = answer.wishes.into_iter().map(|wish| wish_out(wish, row)).collect();
                cases::of_balance(&wishes)
            }
            AnswerBody::Share(answer) => cases::of_share(&shares_out(answer)),
        }
    }
}

/// A kind of request in the words of cases.
pub(crate) trait Form: DeserializeOwned + cases::Request {
    /// The question that it means, where these are the shards.
    fn body(&self, rows: &[ShardRow]) -> QuestionBody;
}

/// The question of a case.
pub(crate) fn asked<F: Form, E>(case: &Case<F, E>) -> Asked {
    let rows: Vec<ShardRow> = (0..).zip(&case.cluster).map(|(handle, row)| shard_row(handle, row)).collect();
    Asked {
        config: case.config.clone(),
        lookups: case.lookups.clone(),
        body: case.request.body(&rows),
        rows,
        repeat: case.repeat,
    }
}

/// A host's columns by the names that they have in the SDK; one that the SDK has no word for is 0.
fn shard_row(handle: u32, row: &Row) -> ShardRow {
    let named = |name: &str| tidegate_sdk::Column::ALL.into_iter().find(|known| known.name() == name);
    let value = |name: &str| named(name).map_or(0, |column| row.value(column, handle));
    let shard = u16::try_from(value("shard")).unwrap_or(u16::MAX);
    ShardRow {
        place: Place { node: NodeId(value("node")), shard: ShardIndex(shard) },
        region: row.region().to_owned(),
        node_name: row.node_name().to_owned(),
        values: Column::ALL.map(|column| value(column.name())),
    }
}

/// The place of a row handle; one that is not there is a place that no feed has.
fn place(rows: &[ShardRow], handle: u32) -> Place {
    let nowhere = Place { node: NodeId(u64::MAX), shard: ShardIndex(u16::MAX) };
    usize::try_from(handle).ok().and_then(|index| rows.get(index)).map_or(nowhere, |row| row.place)
}

impl Form for AuthorizeForm {
    fn body(&self, _rows: &[ShardRow]) -> QuestionBody {
        let request = self.request();
        QuestionBody::Authorize(Box::new(AuthorizeRequest {
            action: action(&request.action),
            room: request.room,
            room_people: request.room_people,
            room_since_unix_ms: request.room_since.map(UnixTime::as_millis),
            name: request.name,
            identity: request.identity,
            token: Secret::new(request.token),
            address: request.address.and_then(|address| address.parse().ok()),
            kind: request.kind.map(|kind| if kind == "audio" { MediaKind::Audio } else { MediaKind::Video }),
            source: request.source,
            moment: moment(request.moment),
            lookups: request.lookups.into_iter().map(lookup).collect(),
            attrs: attrs_in(request.attrs),
        }))
    }
}

fn action(action: &sdk_authorize::Action) -> Action {
    match action {
        sdk_authorize::Action::Publish => Action::Publish,
        sdk_authorize::Action::Subscribe => Action::Subscribe,
        sdk_authorize::Action::Data => Action::Data,
        sdk_authorize::Action::Admin => Action::Admin,
        sdk_authorize::Action::Renew => Action::Renew,
        // A case file names no others.
        _ => Action::Join,
    }
}

fn lookup(made: sdk_authorize::LookupResult) -> LookupResult {
    LookupResult { lookup: made.lookup, key: made.key, result: made.outcome }
}

const fn moment(moment: tidegate_sdk::Moment) -> Moment {
    Moment { unix_ms: moment.now.as_millis(), seed: moment.seed }
}

impl Form for PlaceForm {
    fn body(&self, rows: &[ShardRow]) -> QuestionBody {
        let request = self.request();
        let router = |at: sdk_allocate::RouterAtShard| RouterAtPlace {
            place: place(rows, at.row),
            transports: at.transports,
            producers: at.producers,
            relays: at.relays,
            reserved_kbps: at.reserved.kbps(),
        };
        let parent = |at: sdk_allocate::Parent| Parent {
            place: place(rows, at.row),
            depth: at.depth,
            fan_out: at.fan_out,
        };
        QuestionBody::Place(Box::new(PlaceRequest {
            kind: match request.kind {
                sdk_allocate::PlaceKind::Relay => PlaceKind::Relay,
                sdk_allocate::PlaceKind::Router => PlaceKind::Router,
                _ => PlaceKind::Transport,
            },
            room: request.room,
            router_at: request.router_at.into_iter().map(router).collect(),
            expected_ingress_kbps: request.expected_ingress.kbps(),
            expected_egress_kbps: request.expected_egress.kbps(),
            region_hint: request.region_hint,
            parents: request.parents.into_iter().map(parent).collect(),
            moment: moment(request.moment),
            attrs: attrs_in(request.attrs),
        }))
    }
}

impl Form for BalanceForm {
    fn body(&self, rows: &[ShardRow]) -> QuestionBody {
        let request = self.request();
        QuestionBody::Balance(Box::new(BalanceRequest {
            cause: match request.cause {
                sdk_balance::Cause::NodeLost => BalanceCause::NodeLost,
                sdk_balance::Cause::Drain => BalanceCause::Drain,
                _ => BalanceCause::Tick,
            },
            place: request.row.map(|row| place(rows, row)),
            moment: moment(request.moment),
            attrs: attrs_in(request.attrs),
        }))
    }
}

impl Form for ShareForm {
    fn body(&self, _rows: &[ShardRow]) -> QuestionBody {
        let room = self.request();
        let people = self.people().into_iter().enumerate().map(|(index, row)| SharePerson {
            person: PersonId(index as u64),
            identity: row.identity,
            name: row.name,
            rates: ReceiverRates {
                egress_kbps: row.egress.kbps(),
                given_kbps: row.given.kbps(),
                wanted_kbps: row.wanted.kbps(),
            },
            sends: count(row.sends),
            receives: count(row.receives),
            speaks: row.speaks,
        });
        let tracks = self.tracks().into_iter().enumerate().map(|(index, row)| ShareTrack {
            producer: ProducerId(index as u64),
            person: row.person,
            kind: if row.kind == "audio" { MediaKind::Audio } else { MediaKind::Video },
            source: row.source,
            ingress_kbps: row.ingress.kbps(),
            encodings: count(row.encodings),
            receivers: count(row.receivers),
            reduced: count(row.reduced),
            wanted_layer: count(row.wanted_layer),
            paused: row.paused,
        });
        QuestionBody::Share(Box::new(ShareRequest {
            people: people.collect(),
            tracks: tracks.collect(),
            room: room.name,
            period_ms: u32::try_from(room.period.as_millis()).unwrap_or(u32::MAX),
            moment: moment(room.moment),
            attrs: attrs_in(room.attrs),
        }))
    }
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn shares_out(answer: ShareAnswer) -> sdk_share::Shares {
    let track = |portion: Portion| sdk_share::TrackShare {
        weight_percent: portion.weight_percent.into(),
        floor: Bitrate::from_kbps(portion.floor_kbps.into()),
        ceiling: Bitrate::from_kbps(portion.ceiling_kbps.into()),
        priority: portion.priority.into(),
    };
    let valid = Duration::from_millis(answer.valid_ms.into());
    sdk_share::Shares::from_rows(answer.portions.into_iter().map(track).collect(), valid)
}

fn authorize_answer(answer: AuthorizeAnswer) -> sdk_authorize::Answer {
    match answer {
        AuthorizeAnswer::Grant(grant) => sdk_authorize::Answer::Grant(grant_out(grant)),
        AuthorizeAnswer::Refuse(refusal) => sdk_authorize::Answer::Refuse(refusal_out(refusal)),
        AuthorizeAnswer::Need { lookup, key } => sdk_authorize::Answer::Need { lookup, key },
    }
}

fn grant_out(grant: Grant) -> sdk_authorize::Grant {
    let rate = |kbps: u32| Bitrate::from_kbps(u64::from(kbps));
    sdk_authorize::Grant {
        identity: grant.identity,
        name: grant.name,
        room: grant.room,
        publish: grant.publish,
        subscribe: grant.subscribe,
        data: grant.data,
        admin: grant.admin,
        sources: grant.sources,
        max_tracks: grant.max_tracks,
        ingress: grant.ingress_kbps.map(rate),
        egress: grant.egress_kbps.map(rate),
        expires: grant.expires_unix_ms.map(UnixTime::from_millis),
        consult: grant.consult,
        ask_again: grant.ask_again_ms.map(|ms| Duration::from_millis(u64::from(ms))),
        attrs: attrs_out(grant.attrs),
    }
}

fn refusal_out(refusal: Refusal) -> SdkRefusal {
    SdkRefusal { code: refusal.code, message: refusal.message, attrs: attrs_out(refusal.attrs) }
}

fn wish_out(wish: Wish, row: impl Fn(Place) -> u32) -> sdk_balance::Wish {
    sdk_balance::Wish {
        action: wish.action,
        from_row: wish.from.map(&row),
        to_row: wish.to.map(&row),
        amount: wish.amount,
        unit: wish.unit,
        reason: wish.reason,
        attrs: Vec::new(),
    }
}

fn attrs_in(attrs: Vec<SdkAttr>) -> Vec<Attr> {
    attrs.into_iter().map(|attr| Attr { name: attr.name, value: attr.value }).collect()
}

fn attrs_out(attrs: Vec<Attr>) -> Vec<SdkAttr> {
    attrs.into_iter().map(|attr| SdkAttr { name: attr.name, value: attr.value }).collect()
}
