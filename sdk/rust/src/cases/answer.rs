//! Answers as JSON, in the words that cases expect them in. Knows nothing of cases.

use crate::allocate::Placement;
use crate::authorize::{Answer, Grant};
use crate::balance::Wish;
use crate::moment::UnixTime;
use crate::share::{Shares, TrackShare};
use crate::words::{Attr, Bitrate, Refusal};
use serde_json::{Value, json};

/// An answer of authorize.
#[must_use]
pub fn of_authorize(answer: &Answer) -> Value {
    match answer {
        Answer::Grant(grant) => json!({ "grant": of_grant(grant) }),
        Answer::Refuse(refusal) => json!({ "refuse": of_refusal(refusal) }),
        Answer::Need { lookup, key } => json!({ "need": { "lookup": lookup, "key": key } }),
    }
}

fn of_grant(grant: &Grant) -> Value {
    json!({
        "identity": grant.identity,
        "name": grant.name,
        "room": grant.room,
        "publish": grant.publish,
        "subscribe": grant.subscribe,
        "data": grant.data,
        "admin": grant.admin,
        "sources": grant.sources,
        "max_tracks": grant.max_tracks,
        "ingress_kbps": grant.ingress.map(Bitrate::kbps),
        "egress_kbps": grant.egress.map(Bitrate::kbps),
        "expires_unix_ms": grant.expires.map(UnixTime::as_millis),
        "consult": grant.consult,
        "ask_again_ms": grant.ask_again.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        "attrs": of_attrs(&grant.attrs),
    })
}

fn of_refusal(refusal: &Refusal) -> Value {
    json!({ "code": refusal.code, "message": refusal.message, "attrs": of_attrs(&refusal.attrs) })
}

fn of_attrs(attrs: &[Attr]) -> Value {
    attrs.iter().map(|attr| json!({ "name": attr.name, "value": attr.value })).collect()
}

/// An answer of allocate.
#[must_use]
pub fn of_place(answer: &Result<Placement, Refusal>) -> Value {
    match answer {
        Ok(placement) => json!({ "place": { "row": placement.row, "attrs": of_attrs(&placement.attrs) } }),
        Err(refusal) => json!({ "refuse": of_refusal(refusal) }),
    }
}

/// An answer of balance.
#[must_use]
pub fn of_balance(wishes: &[Wish]) -> Value {
    let wish = |wish: &Wish| {
        json!({
            "action": wish.action,
            "from_row": wish.from_row,
            "to_row": wish.to_row,
            "amount": wish.amount,
            "unit": wish.unit,
            "reason": wish.reason,
        })
    };
    json!({ "wishes": wishes.iter().map(wish).collect::<Vec<_>>() })
}

/// An answer of share.
#[must_use]
pub fn of_share(shares: &Shares) -> Value {
    let track = |share: &TrackShare| {
        json!({
            "weight_percent": share.weight_percent,
            "floor_kbps": share.floor.kbps(),
            "ceiling_kbps": share.ceiling.kbps(),
            "priority": share.priority,
        })
    };
    json!({ "tracks": shares.tracks().iter().map(track).collect::<Vec<_>>(), "valid_ms": shares.valid_ms() })
}
