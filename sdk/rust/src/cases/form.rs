//! What stands in a case file, and the request that it means. Knows nothing of files and answers.

use crate::allocate::{Parent, PlaceKind, PlaceRequest, RouterAtShard};
use crate::authorize::{Action, AuthorizeRequest, LookupResult};
use crate::balance::{BalanceRequest, Cause};
use crate::cluster::{Cluster, Column};
use crate::moment::{Moment, UnixTime};
use crate::words::{Attr, Bitrate};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;

/// The most often that one case asks.
pub const MOST_REPEATS: u32 = 10_000;

/// A kind of request.
pub trait Request {
    /// Whether its policy is told of the cluster.
    const SEES_CLUSTER: bool;
}

/// One question and the answer that is expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, bound = "R: Deserialize<'de> + Request, E: Deserialize<'de>")]
pub struct Case<R, E> {
    /// What it shows, in a few words.
    pub name: String,
    /// The policy's configuration.
    #[serde(default)]
    pub config: Value,
    /// Names of the lookups that the host has; only authorize can need any.
    #[serde(default)]
    pub lookups: Vec<String>,
    /// The shards, in the order of their row handles; authorize sees none.
    #[serde(default, deserialize_with = "shards::<R, _>")]
    pub cluster: Vec<Row>,
    /// What is asked.
    pub request: R,
    /// How often it is asked, at most [`MOST_REPEATS`] times; the last answer counts. 1 unless told.
    #[serde(default = "once", deserialize_with = "times")]
    pub repeat: u32,
    /// What the answer must say.
    pub expect: E,
}

const fn once() -> u32 {
    1
}

/// Reads [`Case::cluster`].
///
/// # Errors
/// What is wrong in it, and where the policy sees none.
pub fn shards<'de, R: Request, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Row>, D::Error> {
    if R::SEES_CLUSTER {
        return Vec::deserialize(deserializer);
    }
    Err(D::Error::custom("this policy is told of no cluster: leave the field out"))
}

/// Reads [`Case::repeat`].
///
/// # Errors
/// Where it is out of range.
pub fn times<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let times = u64::deserialize(deserializer)?;
    let bounded = u32::try_from(times).ok().filter(|times| (1..=MOST_REPEATS).contains(times));
    bounded.ok_or_else(|| D::Error::custom(format!("{times} is not in 1..={MOST_REPEATS}")))
}

impl Request for AuthorizeForm {
    const SEES_CLUSTER: bool = false;
}

impl Request for PlaceForm {
    const SEES_CLUSTER: bool = true;
}

impl Request for BalanceForm {
    const SEES_CLUSTER: bool = true;
}

/// A request for authorize. All fields may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizeForm {
    action: ActionName,
    room: Option<String>,
    room_people: u32,
    room_since_unix_ms: Option<u64>,
    name: String,
    identity: Option<String>,
    token: String,
    address: Option<IpAddr>,
    kind: Option<Kind>,
    source: Option<String>,
    moment: MomentForm,
    lookups: Vec<LookupForm>,
    attrs: Vec<AttrForm>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionName {
    #[default]
    Join,
    Publish,
    Subscribe,
    Data,
    Admin,
    Renew,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Audio,
    Video,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MomentForm {
    unix_ms: u64,
    seed: u64,
}

/// A lookup's result: its `value`, or the `error` why there is none.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "LookupFields")]
struct LookupForm(LookupFields);

impl TryFrom<LookupFields> for LookupForm {
    type Error = &'static str;

    fn try_from(fields: LookupFields) -> Result<Self, Self::Error> {
        match (&fields.value, &fields.error) {
            (Some(_), Some(_)) => Err("a lookup has a `value` or an `error`, not both"),
            _ => Ok(Self(fields)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupFields {
    lookup: String,
    key: String,
    value: Option<String>,
    error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttrForm {
    name: String,
    value: String,
}

impl AuthorizeForm {
    /// The request that it means.
    #[must_use]
    pub fn request(&self) -> AuthorizeRequest {
        let form = self.clone();
        AuthorizeRequest {
            action: match form.action {
                ActionName::Join => Action::Join,
                ActionName::Publish => Action::Publish,
                ActionName::Subscribe => Action::Subscribe,
                ActionName::Data => Action::Data,
                ActionName::Admin => Action::Admin,
                ActionName::Renew => Action::Renew,
            },
            room: form.room,
            room_people: form.room_people,
            room_since: form.room_since_unix_ms.map(UnixTime::from_millis),
            name: form.name,
            identity: form.identity,
            token: form.token,
            address: form.address.map(|address| address.to_string()),
            kind: form.kind.map(|kind| match kind {
                Kind::Audio => "audio".to_owned(),
                Kind::Video => "video".to_owned(),
            }),
            source: form.source,
            moment: form.moment.into(),
            lookups: form.lookups.into_iter().map(Into::into).collect(),
            attrs: form.attrs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<MomentForm> for Moment {
    fn from(form: MomentForm) -> Self {
        Self { now: UnixTime::from_millis(form.unix_ms), seed: form.seed }
    }
}

impl From<LookupForm> for LookupResult {
    fn from(LookupForm(form): LookupForm) -> Self {
        let reason = form.error.unwrap_or_else(|| "no entry".to_owned());
        Self { lookup: form.lookup, key: form.key, outcome: form.value.ok_or(reason) }
    }
}

impl From<AttrForm> for Attr {
    fn from(form: AttrForm) -> Self {
        Self { name: form.name, value: form.value }
    }
}

/// A request for allocate. All fields may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlaceForm {
    kind: KindName,
    room: Option<String>,
    router_at: Vec<RouterForm>,
    expected_ingress_kbps: u64,
    expected_egress_kbps: u64,
    region_hint: Option<String>,
    parents: Vec<ParentForm>,
    moment: MomentForm,
    attrs: Vec<AttrForm>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    #[default]
    Transport,
    Relay,
    Router,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RouterForm {
    row: u32,
    transports: u32,
    producers: u32,
    relays: u32,
    reserved_kbps: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ParentForm {
    row: u32,
    depth: u32,
    fan_out: u32,
}

impl PlaceForm {
    /// The request that it means.
    #[must_use]
    pub fn request(&self) -> PlaceRequest {
        let form = self.clone();
        let router = |at: RouterForm| RouterAtShard {
            row: at.row,
            transports: at.transports,
            producers: at.producers,
            relays: at.relays,
            reserved: Bitrate::from_kbps(at.reserved_kbps),
        };
        let parent = |at: ParentForm| Parent { row: at.row, depth: at.depth, fan_out: at.fan_out };
        PlaceRequest {
            kind: match form.kind {
                KindName::Transport => PlaceKind::Transport,
                KindName::Relay => PlaceKind::Relay,
                KindName::Router => PlaceKind::Router,
            },
            room: form.room,
            router_at: form.router_at.into_iter().map(router).collect(),
            expected_ingress: Bitrate::from_kbps(form.expected_ingress_kbps),
            expected_egress: Bitrate::from_kbps(form.expected_egress_kbps),
            region_hint: form.region_hint,
            parents: form.parents.into_iter().map(parent).collect(),
            moment: form.moment.into(),
            attrs: form.attrs.into_iter().map(Into::into).collect(),
        }
    }
}

/// A request for balance. All fields may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceForm {
    cause: CauseName,
    row: Option<u32>,
    moment: MomentForm,
    attrs: Vec<AttrForm>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CauseName {
    #[default]
    Tick,
    NodeLost,
    Drain,
}

impl BalanceForm {
    /// The request that it means.
    #[must_use]
    pub fn request(&self) -> BalanceRequest {
        let form = self.clone();
        BalanceRequest {
            cause: match form.cause {
                CauseName::Tick => Cause::Tick,
                CauseName::NodeLost => Cause::NodeLost,
                CauseName::Drain => Cause::Drain,
            },
            row: form.row,
            moment: form.moment.into(),
            attrs: form.attrs.into_iter().map(Into::into).collect(),
        }
    }
}

/// One shard of a case: values by the names of the feed's columns, and its labels.
#[derive(Clone, Debug, Default)]
pub struct Row {
    values: Vec<(Column, u64)>,
    node_name: String,
    region: String,
}

impl Row {
    /// A column's value. What was not given is 0; for `shard`, the row's own number.
    #[must_use]
    pub fn value(&self, column: Column, row: u32) -> u64 {
        let given = self.values.iter().find(|(given, _)| *given == column).map(|(_, value)| *value);
        given.unwrap_or(if column == Column::Shard { u64::from(row) } else { 0 })
    }

    /// Its node's name; empty unless given.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    /// Its node's region; empty unless given.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }
}

/// All that a row may name.
const ROW_FIELDS: [&str; Column::ALL.len() + 2] = {
    let mut names = ["node-name"; Column::ALL.len() + 2];
    let mut index = 0;
    while index < Column::ALL.len() {
        names[index] = Column::ALL[index].name();
        index += 1;
    }
    names[Column::ALL.len()] = "region";
    names
};

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a shard, as in {\"egress\": 300}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Row::default();
        while let Some(name) = map.next_key::<String>()? {
            match (name.as_str(), Column::named(&name)) {
                (_, Some(Column::Shard)) => {
                    row.values.push((Column::Shard, map.next_value::<u16>()?.into()));
                }
                (_, Some(column)) => row.values.push((column, map.next_value()?)),
                ("node-name", _) => row.node_name = map.next_value()?,
                ("region", _) => row.region = map.next_value()?,
                _ => return Err(Error::unknown_field(&name, &ROW_FIELDS)),
            }
        }
        Ok(row)
    }
}

/// The cluster of these rows, as a policy sees it.
#[must_use]
pub fn cluster(rows: &[Row]) -> Cluster {
    let mut cluster = Cluster::with_shards(u32::try_from(rows.len()).unwrap_or(u32::MAX));
    for (handle, row) in (0..).zip(rows) {
        for column in Column::ALL {
            cluster.set(handle, column, row.value(column, handle));
        }
        cluster.set_labels(handle, &row.node_name, &row.region);
    }
    cluster
}
