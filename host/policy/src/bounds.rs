//! How large an answer may be, and that it answers what was asked. Knows nothing of how it was made.

use crate::convert::ASK_AGAIN;
use tidegate_types::decision::{
    AnswerBody, Attr, AuthorizeAnswer, BalanceAnswer, Failure, Grant, PlaceAnswer, PlaceKind, PlaceRequest,
    Placement, QuestionBody, Refusal,
};
use tidegate_types::sharing::{ShareAnswer, ShareRequest};

/// The longest text in an answer, in bytes; it ends up in messages, records and on screens.
const TEXT_BYTES: usize = 1_024;
/// The most entries of any list in an answer.
const LIST_ENTRIES: usize = 64;

/// Refuses what is too large or contradicts the question.
pub(crate) fn check(question: &QuestionBody, answer: &AnswerBody) -> Result<(), Failure> {
    let sound = match (question, answer) {
        (_, AnswerBody::Authorize(answer)) => authorize(answer),
        (QuestionBody::Place(request), AnswerBody::Place(answer)) => place(request, answer),
        (_, AnswerBody::Balance(answer)) => balance(answer),
        (QuestionBody::Share(request), AnswerBody::Share(answer)) => share(request, answer),
        _ => false,
    };
    sound.then_some(()).ok_or(Failure::Nonsense)
}

fn authorize(answer: &AuthorizeAnswer) -> bool {
    match answer {
        AuthorizeAnswer::Grant(grant) => self::grant(grant),
        AuthorizeAnswer::Refuse(refusal) => self::refusal(refusal),
        AuthorizeAnswer::Need { lookup, key } => text(lookup) && text(key),
    }
}

fn grant(grant: &Grant) -> bool {
    [&grant.identity, &grant.name, &grant.room].into_iter().flatten().all(|value| text(value))
        && grant.sources.as_deref().is_none_or(texts)
        && texts(&grant.consult)
        && !grant.attrs.iter().any(|attr| attr.name == ASK_AGAIN)
        && attrs(&grant.attrs)
}

fn refusal(refusal: &Refusal) -> bool {
    text(&refusal.code) && text(&refusal.message) && attrs(&refusal.attrs)
}

fn place(request: &PlaceRequest, answer: &PlaceAnswer) -> bool {
    match answer {
        PlaceAnswer::Place(placement) => names_a_parent(request, placement) && attrs(&placement.attrs),
        PlaceAnswer::Refuse(refusal) => self::refusal(refusal),
    }
}

fn names_a_parent(request: &PlaceRequest, placement: &Placement) -> bool {
    request.kind != PlaceKind::Relay
        || request.parents.is_empty()
        || request.parents.iter().any(|parent| parent.place == placement.place)
}

fn balance(answer: &BalanceAnswer) -> bool {
    answer.wishes.len() <= LIST_ENTRIES
        && answer.wishes.iter().all(|wish| text(&wish.action) && text(&wish.unit) && text(&wish.reason))
        && attrs(&answer.attrs)
}

/// Values are within their ranges where an answer is made of columns.
fn share(request: &ShareRequest, answer: &ShareAnswer) -> bool {
    answer.portions.len() == request.tracks.len() && attrs(&answer.attrs)
}

fn attrs(attrs: &[Attr]) -> bool {
    attrs.len() <= LIST_ENTRIES && attrs.iter().all(|attr| text(&attr.name) && text(&attr.value))
}

fn texts(texts: &[String]) -> bool {
    texts.len() <= LIST_ENTRIES && texts.iter().all(|value| text(value))
}

const fn text(text: &str) -> bool {
    text.len() <= TEXT_BYTES
}
