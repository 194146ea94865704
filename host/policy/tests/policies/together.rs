//! Several policies in a row: who is asked, and what they allow together.

use crate::desk::{Desk, config_with, granted, join, open, plugin, refused};
use crate::guest::{GRANT, GRANT_INFO, GRANT_TEST, Guest, REFUSAL};
use tidegate_policy::LoadError;
use tidegate_types::decision::{AnswerBody, AuthorizeAnswer, Decision, Failure};

fn answering(address: u32) -> Guest {
    Guest::new(Decision::Authorize).decide(format!("(i32.const {address})"))
}

fn chain(guests: Vec<Guest>) -> Desk {
    let mut guests = guests.into_iter();
    let mut config = config_with(Decision::Authorize, guests.next().expect("a first"));
    config.authorize_next = guests.map(|guest| plugin("next", guest.build())).collect();
    open(config)
}

fn calls(desk: &Desk) -> Vec<u64> {
    let infos = desk.policies.info().into_iter();
    infos.filter(|info| info.decision == Decision::Authorize).map(|info| info.calls).collect()
}

#[test]
fn all_are_asked_until_one_refuses() {
    let desk = chain(vec![answering(GRANT), answering(GRANT_TEST), answering(GRANT)]);
    assert_eq!(desk.ask(join(1)), granted(Some("test")));
    assert_eq!(calls(&desk), [1, 1, 1]);
    let desk = chain(vec![answering(GRANT), answering(REFUSAL), answering(GRANT)]);
    assert_eq!(desk.ask(join(1)), refused());
    assert_eq!(calls(&desk), [1, 1, 0]);
}

#[test]
fn two_who_name_different_people_refuse() {
    let desk = chain(vec![answering(GRANT_TEST), answering(GRANT_INFO)]);
    match desk.ask(join(1)) {
        Ok(AnswerBody::Authorize(AuthorizeAnswer::Refuse(refusal))) => {
            assert_eq!(refusal.code, "policies-conflict");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_fails_lets_nobody_through() {
    let trap = Guest::new(Decision::Authorize).decide("(unreachable)");
    let desk = chain(vec![answering(GRANT), trap]);
    assert_eq!(desk.ask(join(1)), Err(Failure::Trap));
}

#[test]
fn a_chain_has_a_longest_length() {
    let mut config = config_with(Decision::Authorize, answering(GRANT));
    config.authorize_next = vec![plugin("next", answering(GRANT).build()); 8];
    let refused = crate::desk::start(config).err();
    assert!(matches!(refused, Some(LoadError::ChainTooLong { length: 9, most: 8 })), "{refused:?}");
}
