//! From the host's own words into those of `wit/v1` and back: the only place that knows both. Knows nothing of
//! how a guest is called.

use crate::bindings::exports::tidegate::policy::{allocation, authorization, balancing};
use crate::bindings::tidegate::policy::types as wit;
use crate::feed::Places;
use tidegate_types::Place;
use tidegate_types::decision::{
    Attr, AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, BalanceRequest, Failure, Grant, LookupResult,
    Moment, Parent, PlaceAnswer, PlaceRequest, Placement, Refusal, RouterAtPlace, Wish,
};

/// A question to authorize.
pub(crate) fn authorize_request(request: &AuthorizeRequest) -> authorization::AuthorizeRequest {
    authorization::AuthorizeRequest {
        action: request.action.name().into(),
        room: request.room.clone(),
        room_people: request.room_people,
        room_since_unix_ms: request.room_since_unix_ms,
        name: request.name.clone(),
        identity: request.identity.clone(),
        token: request.token.expose().into(),
        address: request.address.map(|address| address.to_string()),
        kind: request.kind.map(|kind| kind.name().into()),
        source: request.source.clone(),
        moment: moment(request.moment),
        lookups: request.lookups.iter().map(lookup_result).collect(),
        attrs: attrs(&request.attrs),
    }
}

fn lookup_result(result: &LookupResult) -> authorization::LookupResult {
    authorization::LookupResult {
        lookup: result.lookup.clone(),
        key: result.key.clone(),
        outcome: result.result.clone(),
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

fn own_grant(grant: authorization::Grant) -> Grant {
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
        attrs: own_attrs(grant.attrs),
    }
}

/// A question to allocate. Places that the feed does not know are left out: the guest could not name them.
pub(crate) fn place_request(request: &PlaceRequest, places: &Places) -> allocation::PlaceRequest {
    allocation::PlaceRequest {
        kind: request.kind.name().into(),
        room: request.room.clone(),
        router_at: router_places(&request.router_at, places),
        expected_ingress_kbps: request.expected_ingress_kbps,
        expected_egress_kbps: request.expected_egress_kbps,
        region_hint: request.region_hint.clone(),
        parents: relay_parents(&request.parents, places),
        moment: moment(request.moment),
        attrs: attrs(&request.attrs),
    }
}

fn router_places(router_at: &[RouterAtPlace], places: &Places) -> allocation::RouterPlaces {
    let known = || router_at.iter().filter_map(|at| Some((places.row(at.place)?, at)));
    allocation::RouterPlaces {
        rows: known().map(|(row, _)| row).collect(),
        transports: known().map(|(_, at)| at.transports).collect(),
        producers: known().map(|(_, at)| at.producers).collect(),
        relays: known().map(|(_, at)| at.relays).collect(),
        reserved_kbps: known().map(|(_, at)| at.reserved_kbps).collect(),
        more: Vec::new(),
    }
}

fn relay_parents(parents: &[Parent], places: &Places) -> allocation::RelayParents {
    let known = || parents.iter().filter_map(|parent| Some((places.row(parent.place)?, parent)));
    allocation::RelayParents {
        rows: known().map(|(row, _)| row).collect(),
        depth: known().map(|(_, parent)| parent.depth).collect(),
        fan_out: known().map(|(_, parent)| parent.fan_out).collect(),
        more: Vec::new(),
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

/// A question to balance.
pub(crate) fn balance_request(request: &BalanceRequest, places: &Places) -> balancing::BalanceRequest {
    balancing::BalanceRequest {
        cause: request.cause.name().into(),
        row: request.place.and_then(|place| places.row(place)),
        moment: moment(request.moment),
        tables: Vec::new(),
        attrs: attrs(&request.attrs),
    }
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

fn attrs(attrs: &[Attr]) -> Vec<wit::Attr> {
    attrs.iter().map(|attr| wit::Attr { name: attr.name.clone(), value: attr.value.clone() }).collect()
}

fn own_attrs(attrs: Vec<wit::Attr>) -> Vec<Attr> {
    attrs.into_iter().map(|attr| Attr { name: attr.name, value: attr.value }).collect()
}

fn own_refusal(refusal: wit::Refusal) -> Refusal {
    Refusal { code: refusal.code, message: refusal.message, attrs: own_attrs(refusal.attrs) }
}
