//! From the host's own words into those of `wit/v1` and back: the only place that knows both. Knows nothing of
//! how a guest is called.

mod share;

pub(crate) use share::{share_answer, share_request};

use crate::bindings::exports::tidegate::policy::{allocation, authorization, balancing};
use crate::bindings::tidegate::policy::types as wit;
use crate::feed::Places;
use tidegate_types::Place;
use tidegate_types::decision::{
    Attr, AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, BalanceRequest, Failure, Grant, LookupResult,
    Moment, Parent, PlaceAnswer, PlaceRequest, Placement, Refusal, RouterAtPlace, Wish,
};

/// Lends a question to authorize.
pub(crate) fn authorize_request<R>(
    request: &AuthorizeRequest,
    ask: impl FnOnce(authorization::AuthorizeRequest<'_>) -> R,
) -> R {
    let address = request.address.map(|address| address.to_string());
    let lookups: Vec<_> = request.lookups.iter().map(lookup_result).collect();
    ask(authorization::AuthorizeRequest {
        action: request.action.name(),
        room: request.room.as_deref(),
        room_people: request.room_people,
        room_since_unix_ms: request.room_since_unix_ms,
        name: &request.name,
        identity: request.identity.as_deref(),
        token: request.token.expose(),
        address: address.as_deref(),
        kind: request.kind.map(tidegate_types::MediaKind::name),
        source: request.source.as_deref(),
        moment: moment(request.moment),
        lookups: &lookups,
        attrs: &attrs(&request.attrs),
    })
}

fn lookup_result(result: &LookupResult) -> authorization::LookupResult<'_> {
    authorization::LookupResult {
        lookup: &result.lookup,
        key: &result.key,
        outcome: result.result.as_deref().map_err(String::as_str),
    }
}

/// What authorize answered.
pub(crate) fn authorize_answer(answer: authorization::AuthorizeAnswer) -> AuthorizeAnswer {
    match answer {
        authorization::AuthorizeAnswer::Grant(grant) => AuthorizeAnswer::Grant(own_grant(grant)),
        authorization::AuthorizeAnswer::Refuse(refusal) => AuthorizeAnswer::Refuse(own_refusal(refusal)),
        authorization::AuthorizeAnswer::Need(need) => {
            AuthorizeAnswer::Need { lookup: need.lookup, key: need.key }
        }
    }
}

/// The attr of a grant that says after how many milliseconds the policy wishes to be asked again. One that is no number
/// stays an attr, and [`crate::bounds`] refuses the answer: a grant that its policy means to look at again must not
/// stand for ever.
pub(crate) const ASK_AGAIN: &str = "ask-again-ms";

fn own_grant(grant: authorization::Grant) -> Grant {
    let mut attrs = own_attrs(grant.attrs);
    let wish = attrs.iter().position(|attr| attr.name == ASK_AGAIN && attr.value.parse::<u32>().is_ok());
    let ask_again_ms = wish.and_then(|at| attrs.remove(at).value.parse().ok());
    Grant {
        identity: grant.identity,
        name: grant.name,
        room: grant.room,
        publish: grant.publish,
        subscribe: grant.subscribe,
        data: grant.data,
        admin: grant.admin,
        sources: grant.sources,
        max_tracks: grant.max_tracks,
        ingress_kbps: grant.ingress_kbps,
        egress_kbps: grant.egress_kbps,
        expires_unix_ms: grant.expires_unix_ms,
        consult: grant.consult,
        ask_again_ms,
        attrs,
    }
}

/// Lends a question to allocate. Places that the feed does not know are left out: the guest could not name them.
pub(crate) fn place_request<R>(
    request: &PlaceRequest,
    places: &Places,
    ask: impl FnOnce(allocation::PlaceRequest<'_>) -> R,
) -> R {
    let router = RouterColumns::of(&request.router_at, places);
    let parents = ParentColumns::of(&request.parents, places);
    ask(allocation::PlaceRequest {
        kind: request.kind.name(),
        room: request.room.as_deref(),
        router_at: router.lent(),
        expected_ingress_kbps: request.expected_ingress_kbps,
        expected_egress_kbps: request.expected_egress_kbps,
        region_hint: request.region_hint.as_deref(),
        parents: parents.lent(),
        moment: moment(request.moment),
        attrs: &attrs(&request.attrs),
    })
}

/// Where a router is, in columns.
#[derive(Default)]
struct RouterColumns {
    rows: Vec<u32>,
    transports: Vec<u32>,
    producers: Vec<u32>,
    relays: Vec<u32>,
    reserved_kbps: Vec<u64>,
}

impl RouterColumns {
    fn of(router_at: &[RouterAtPlace], places: &Places) -> Self {
        let mut columns = Self::default();
        for at in router_at {
            let Some(row) = places.row(at.place) else { continue };
            columns.rows.push(row);
            columns.transports.push(at.transports);
            columns.producers.push(at.producers);
            columns.relays.push(at.relays);
            columns.reserved_kbps.push(at.reserved_kbps);
        }
        columns
    }

    /// Nothing rather than empty columns: each list that crosses costs a call into the guest, even an empty one.
    fn lent(&self) -> Option<allocation::RouterPlaces<'_>> {
        (!self.rows.is_empty()).then_some(allocation::RouterPlaces {
            rows: &self.rows,
            transports: &self.transports,
            producers: &self.producers,
            relays: &self.relays,
            reserved_kbps: &self.reserved_kbps,
            more: &[],
        })
    }
}

/// Whom a relay could copy from, in columns.
#[derive(Default)]
struct ParentColumns {
    rows: Vec<u32>,
    depth: Vec<u32>,
    fan_out: Vec<u32>,
}

impl ParentColumns {
    fn of(parents: &[Parent], places: &Places) -> Self {
        let mut columns = Self::default();
        for parent in parents {
            let Some(row) = places.row(parent.place) else { continue };
            columns.rows.push(row);
            columns.depth.push(parent.depth);
            columns.fan_out.push(parent.fan_out);
        }
        columns
    }

    fn lent(&self) -> Option<allocation::RelayParents<'_>> {
        (!self.rows.is_empty()).then_some(allocation::RelayParents {
            rows: &self.rows,
            depth: &self.depth,
            fan_out: &self.fan_out,
            more: &[],
        })
    }
}

/// What allocate answered.
pub(crate) fn place_answer(
    answer: Result<allocation::Placement, wit::Refusal>,
    places: &Places,
) -> Result<PlaceAnswer, Failure> {
    Ok(match answer {
        Ok(placement) => PlaceAnswer::Place(Placement {
            place: places.place(placement.row).ok_or(Failure::Stale)?,
            attrs: own_attrs(placement.attrs),
        }),
        Err(refusal) => PlaceAnswer::Refuse(own_refusal(refusal)),
    })
}

/// Lends a question to balance.
pub(crate) fn balance_request<R>(
    request: &BalanceRequest,
    places: &Places,
    ask: impl FnOnce(balancing::BalanceRequest<'_>) -> R,
) -> R {
    ask(balancing::BalanceRequest {
        cause: request.cause.name(),
        row: request.place.and_then(|place| places.row(place)),
        moment: moment(request.moment),
        tables: &[],
        attrs: &attrs(&request.attrs),
    })
}

/// What balance answered.
pub(crate) fn balance_answer(
    answer: balancing::BalanceAnswer,
    places: &Places,
) -> Result<BalanceAnswer, Failure> {
    let wishes = answer.wishes.into_iter().map(|wish| own_wish(wish, places)).collect::<Result<_, _>>()?;
    Ok(BalanceAnswer { wishes, attrs: own_attrs(answer.attrs) })
}

/// A wish's attrs have no meaning yet and are left behind.
fn own_wish(wish: balancing::Wish, places: &Places) -> Result<Wish, Failure> {
    let place = |row: Option<u32>| -> Result<Option<Place>, Failure> {
        row.map(|row| places.place(row).ok_or(Failure::Stale)).transpose()
    };
    Ok(Wish {
        from: place(wish.from_row)?,
        to: place(wish.to_row)?,
        action: wish.action,
        amount: wish.amount,
        unit: wish.unit,
        reason: wish.reason,
    })
}

const fn moment(moment: Moment) -> wit::Moment {
    wit::Moment { unix_ms: moment.unix_ms, seed: moment.seed }
}

fn attrs(attrs: &[Attr]) -> Vec<wit::AttrParam<'_>> {
    attrs.iter().map(|attr| wit::AttrParam { name: &attr.name, value: &attr.value }).collect()
}

fn own_attrs(attrs: Vec<wit::AttrResult>) -> Vec<Attr> {
    attrs.into_iter().map(|attr| Attr { name: attr.name, value: attr.value }).collect()
}

fn own_refusal(refusal: wit::Refusal) -> Refusal {
    Refusal { code: refusal.code, message: refusal.message, attrs: own_attrs(refusal.attrs) }
}
