//! What a case expects: only the fields that matter. Knows nothing of how an answer is compared.

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::fmt;
use std::marker::PhantomData;

/// What authorize is expected to answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorizeExpect {
    /// Yes, with these fields.
    Grant(Fields<Grant>),
    /// No, with this code or these fields.
    Refuse(Fields<Refuse>),
    /// First a lookup.
    Need(Fields<Need>),
}

/// What allocate is expected to answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceExpect {
    /// On this row, or with these fields.
    Place(Fields<Place>),
    /// Nowhere, with this code or these fields.
    Refuse(Fields<Refuse>),
}

/// What balance is expected to answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BalanceExpect {
    /// So many wishes, with these fields.
    Wishes(Vec<Fields<Wish>>),
}

/// What share is expected to answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareExpect {
    /// For every track, in the request's order, these fields.
    pub tracks: Vec<Fields<TrackShare>>,
    /// How long it holds, in milliseconds.
    pub valid_ms: Option<u32>,
}

impl From<AuthorizeExpect> for Value {
    fn from(expect: AuthorizeExpect) -> Self {
        match expect {
            AuthorizeExpect::Grant(fields) => json!({ "grant": fields.0 }),
            AuthorizeExpect::Refuse(fields) => json!({ "refuse": fields.0 }),
            AuthorizeExpect::Need(fields) => json!({ "need": fields.0 }),
        }
    }
}

impl From<PlaceExpect> for Value {
    fn from(expect: PlaceExpect) -> Self {
        match expect {
            PlaceExpect::Place(fields) => json!({ "place": fields.0 }),
            PlaceExpect::Refuse(fields) => json!({ "refuse": fields.0 }),
        }
    }
}

impl From<BalanceExpect> for Value {
    fn from(BalanceExpect::Wishes(wishes): BalanceExpect) -> Self {
        json!({ "wishes": wishes.into_iter().map(|wish| wish.0).collect::<Vec<_>>() })
    }
}

impl From<ShareExpect> for Value {
    fn from(expect: ShareExpect) -> Self {
        let tracks: Vec<_> = expect.tracks.into_iter().map(|track| track.0).collect();
        match expect.valid_ms {
            Some(valid_ms) => json!({ "tracks": tracks, "valid_ms": valid_ms }),
            None => json!({ "tracks": tracks }),
        }
    }
}

/// Some fields of an answer, none of them unknown.
#[derive(Clone, Debug)]
pub struct Fields<K>(Map<String, Value>, PhantomData<K>);

/// The fields of a part of an answer.
pub trait Known {
    /// All of them.
    const FIELDS: &'static [&'static str];
    /// The one that a bare value stands for.
    const SHORT: Option<&'static str> = None;
}

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident: $fields:expr $(, $short:literal)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Known for $name {
            const FIELDS: &'static [&'static str] = &$fields;
            $(const SHORT: Option<&'static str> = Some($short);)?
        }
    )*};
}

known! {
    /// A grant's fields.
    Grant: [
        "identity", "name", "room", "publish", "subscribe", "data", "admin", "sources", "max_tracks", "ingress_kbps",
        "egress_kbps", "expires_unix_ms", "consult", "ask_again_ms", "attrs",
    ];
    /// A refusal's fields; a text is its code.
    Refuse: ["code", "message", "attrs"], "code";
    /// A lookup's fields.
    Need: ["lookup", "key"];
    /// A placement's fields; a number is its row.
    Place: ["row", "attrs"], "row";
    /// A wish's fields.
    Wish: ["action", "from_row", "to_row", "amount", "unit", "reason"];
    /// What one track is worth.
    TrackShare: ["weight_percent", "floor_kbps", "ceiling_kbps", "priority"];
}

impl<'de, K: Known> Deserialize<'de> for Fields<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldsVisitor(PhantomData))
    }
}

struct FieldsVisitor<K>(PhantomData<K>);

impl<K: Known> FieldsVisitor<K> {
    fn short<E: Error>(self, value: Value) -> Result<Fields<K>, E> {
        let Some(field) = K::SHORT else {
            return Err(E::custom(format!("expected some of the fields {}", K::FIELDS.join(", "))));
        };
        Ok(Fields(Map::from_iter([(field.to_owned(), value)]), PhantomData))
    }
}

impl<'de, K: Known> Visitor<'de> for FieldsVisitor<K> {
    type Value = Fields<K>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "some of the fields {}", K::FIELDS.join(", "))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Fields<K>, E> {
        self.short(Value::from(text))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Fields<K>, E> {
        self.short(Value::from(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<K>, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if !K::FIELDS.contains(&name.as_str()) {
                map.next_value::<IgnoredAny>()?;
                return Err(Error::unknown_field(&name, K::FIELDS));
            }
            fields.insert(name, map.next_value()?);
        }
        Ok(Fields(fields, PhantomData))
    }
}
