//! What one misdeed is, what must come of it, and how that is held: the caller gets its name, everyone beside gets
//! answers, and the next question is answered as ever. Knows nothing of how a component misbehaves.

use crate::desk::{Desk, PATIENCE, balance, config, join, place, plugin, refused, share, start};
use crate::guest::Guest;
use crate::log;
use std::time::{Duration, Instant};
use tidegate_policy::Deadlines;
use tidegate_types::Place;
use tidegate_types::decision::{
    AnswerBody, BalanceAnswer, BalanceCause, Decision, Failure, Parent, PlaceAnswer, PlaceKind, QuestionBody,
};
use tidegate_types::sharing::{Portion, ShareAnswer};

/// What must come of a misdeed.
#[derive(Clone, Copy, Debug)]
pub enum Comes {
    /// It is not put in force; the name of the `LoadError`.
    Refused(&'static str),
    /// Whoever makes it misbehave gets this.
    Fails(Failure),
    /// So many are answered, then one gets this; and again.
    After(usize, Failure),
    /// It is stopped at a bound, looks whether it was, and answers.
    Bounded,
}

/// One component that misbehaves, under the name that its log lines have.
pub struct Case {
    pub name: &'static str,
    pub decision: Decision,
    pub component: Vec<u8>,
    pub comes: Comes,
    /// It is told of thirteen rows before it is provoked, not only of a change.
    reset: bool,
}

impl Case {
    pub fn new(name: &'static str, guest: Guest, comes: Comes) -> Self {
        Self::of(name, guest.decision, guest.build(), comes)
    }

    pub const fn of(name: &'static str, decision: Decision, component: Vec<u8>, comes: Comes) -> Self {
        Self { name, decision, component, comes, reset: true }
    }

    /// A change provokes it, not a reset.
    pub fn by_change(self) -> Self {
        Self { reset: false, ..self }
    }
}

/// What makes the guests below misbehave: people in the room, a relay, a drain; and the feed and the long name that come
/// with them.
pub const THIRTEEN: u16 = 13;
pub const LONG_NAME_BYTES: usize = 5_000;

/// One that misbehaves on such a question, and otherwise answers as ever.
pub fn guest(decision: Decision, body: &str) -> Guest {
    match decision {
        Decision::Authorize => Guest::new(decision).misbehave(body),
        // The lengths of the words `relay` and `drain`, which others of their kind don't have.
        Decision::Allocate => Guest::new(decision).decide(format!(
            "(if (i32.eq (i32.load offset=4 (local.get $request)) (i32.const 5)) (then {body})) (i32.const {})",
            crate::guest::PLACEMENT
        )),
        Decision::Balance => Guest::new(decision).decide(format!(
            "(if (i32.eq (local.get 1) (i32.const 5)) (then {body})) (i32.const {})",
            crate::guest::NO_WISHES
        )),
        // A period that no host has.
        Decision::Share => Guest::new(decision).decide(format!(
            "(if (i32.eq (i32.load offset=48 (local.get $request)) (i32.const {THIRTEEN})) (then {body})) \
             (i32.const {})",
            crate::guest::NO_WISHES
        )),
    }
}

pub fn authorize(body: &str) -> Guest {
    guest(Decision::Authorize, body)
}

/// The question that makes it misbehave.
pub fn provocation(decision: Decision) -> QuestionBody {
    match (decision, join(1), place(), balance()) {
        (Decision::Share, ..) => {
            let QuestionBody::Share(mut request) = share() else { unreachable!("it asks for its own") };
            request.period_ms = THIRTEEN.into();
            QuestionBody::Share(request)
        }
        (Decision::Authorize, QuestionBody::Authorize(mut request), ..) => {
            request.name = "x".repeat(LONG_NAME_BYTES);
            QuestionBody::Authorize(request)
        }
        (Decision::Allocate, _, QuestionBody::Place(mut request), _) => {
            request.kind = PlaceKind::Relay;
            request.parents = vec![Parent { place: Place::local(1), depth: 0, fan_out: 0 }];
            QuestionBody::Place(request)
        }
        (_, _, _, QuestionBody::Balance(mut request)) => {
            request.cause = BalanceCause::Drain;
            QuestionBody::Balance(request)
        }
        _ => unreachable!("each function asks for its own decision"),
    }
}

pub fn harmless(decision: Decision) -> QuestionBody {
    match decision {
        Decision::Authorize => join(0),
        Decision::Allocate => place(),
        Decision::Balance => balance(),
        Decision::Share => share(),
    }
}

fn is_as_ever(decision: Decision, outcome: &Result<AnswerBody, Failure>) -> bool {
    match decision {
        Decision::Authorize => *outcome == refused(),
        Decision::Allocate => matches!(
            outcome,
            Ok(AnswerBody::Place(PlaceAnswer::Place(placement))) if placement.place == Place::local(0)
        ),
        Decision::Balance => *outcome == Ok(AnswerBody::Balance(BalanceAnswer::default())),
        Decision::Share => {
            let portions = vec![Portion::default()];
            *outcome == Ok(AnswerBody::Share(ShareAnswer { portions, ..ShareAnswer::default() }))
        }
    }
}

/// How often each misdeed is done: fewer times than what opens a breaker.
const TIMES: usize = 3;
/// Questions to the plugin beside it, for each misdeed.
const BESIDE: usize = 10;
/// Nobody who means well needs so long, however busy the machine.
const AMPLE: Duration = Duration::from_secs(10);
/// Lines that a plugin may log at once, and how often another one.
const BURST_LINES: usize = 50;
const LINE_INTERVAL: Duration = Duration::from_millis(100);
/// Names of numbers that a plugin may have.
const COUNTERS: usize = 64;

/// A host in which one of the plugins is that of the case.
struct Scene<'a> {
    case: &'a Case,
    desk: Desk,
    generation: u64,
}

/// Holds a case to what must come of it.
pub fn hold(case: &Case) {
    let began = Instant::now();
    let mut config = config();
    let own = plugin(case.name, case.component.clone());
    let late = matches!(case.comes, Comes::Fails(Failure::Deadline) | Comes::After(_, Failure::Deadline));
    let patience = if late { PATIENCE } else { AMPLE };
    config.deadlines = Deadlines { authorize: AMPLE, allocate: AMPLE, balance: AMPLE, share: AMPLE };
    match case.decision {
        Decision::Authorize => (config.authorize, config.deadlines.authorize) = (own, patience),
        Decision::Allocate => (config.allocate, config.deadlines.allocate) = (own, patience),
        Decision::Balance => (config.balance, config.deadlines.balance) = (own, patience),
        Decision::Share => (config.share, config.deadlines.share) = (Some(own), patience),
    }
    match (start(config), case.comes) {
        (Err(error), Comes::Refused(wanted)) => {
            assert!(format!("{error:?}").starts_with(wanted), "{}: {error:?}", case.name);
            let line = error.to_string();
            assert!(line.contains(case.name) && !line.contains('\n'), "{line:?}");
        }
        (Err(error), _) => panic!("{}: {error}", case.name),
        (Ok(_), Comes::Refused(wanted)) => panic!("{} is in force, and not {wanted}", case.name),
        (Ok(desk), _) => Scene { case, desk, generation: 0 }.play(),
    }
    let bound = BURST_LINES + 1 + (began.elapsed().as_nanos() / LINE_INTERVAL.as_nanos()) as usize;
    assert!(log::lines(case.name) <= bound, "{}: {} lines", case.name, log::lines(case.name));
}

impl Scene<'_> {
    fn play(&mut self) {
        let decision = self.case.decision;
        self.feed(2);
        match self.case.comes {
            Comes::Fails(failure) => {
                for _ in 0..TIMES {
                    assert_eq!(self.provoked(), Err(failure), "{}", self.case.name);
                    self.feed(2);
                    self.answers();
                }
                self.counted(failure, TIMES as u64);
            }
            Comes::Bounded => {
                for _ in 0..TIMES {
                    let outcome = self.provoked();
                    assert!(is_as_ever(decision, &outcome), "{}: {outcome:?}", self.case.name);
                    self.feed(2);
                    self.answers();
                }
            }
            Comes::After(times, failure) => {
                for _ in 0..2 {
                    (0..times).for_each(|_| self.answers());
                    assert_eq!(self.desk.ask(harmless(decision)), Err(failure), "{}", self.case.name);
                }
                self.answers();
                self.counted(failure, 2);
            }
            Comes::Refused(_) => unreachable!("it was not put in force"),
        }
        let counters = self.desk.policies.counters();
        assert!(counters.len() <= COUNTERS, "{}: {} counters", self.case.name, counters.len());
    }

    /// The whole cluster, in so many rows.
    fn feed(&mut self, rows: u16) {
        self.generation += 1;
        self.desk.reset(self.generation, rows);
    }

    /// Asks what provokes it; meanwhile another plugin answers all that it is asked.
    fn provoked(&mut self) -> Result<AnswerBody, Failure> {
        if self.case.reset {
            self.feed(THIRTEEN);
        } else {
            // It must know a cluster before it can be told what changed in it.
            self.answers();
        }
        self.desk.cpu(self.generation, u64::from(THIRTEEN));
        let provoked = self.desk.send(provocation(self.case.decision));
        let other = match self.case.decision {
            Decision::Authorize => Decision::Allocate,
            Decision::Allocate | Decision::Balance | Decision::Share => Decision::Authorize,
        };
        for _ in 0..BESIDE {
            self.desk.send(harmless(other));
        }
        let mut outcome = None;
        for _ in 0..=BESIDE {
            let answer = self.desk.receive();
            if answer.number == provoked {
                outcome = Some(answer.result);
            } else {
                assert!(is_as_ever(other, &answer.result), "beside {}: {:?}", self.case.name, answer.result);
            }
        }
        outcome.expect("an answer")
    }

    /// The next caller notices nothing.
    fn answers(&self) {
        let outcome = self.desk.ask(harmless(self.case.decision));
        assert!(is_as_ever(self.case.decision, &outcome), "after {}: {outcome:?}", self.case.name);
    }

    /// In the numbers and in the record, which has what came before the last answer.
    fn counted(&self, failure: Failure, times: u64) {
        let recorded = self.desk.policies.records(256);
        assert!(recorded.iter().any(|record| record.failure == Some(failure)), "{}", self.case.name);
        let infos = self.desk.policies.info();
        let info = infos.iter().find(|info| info.decision == self.case.decision).expect("it is in force");
        let counted = info.failures.iter().find(|(name, _)| name == failure.name());
        assert_eq!(counted, Some(&(failure.name().into(), times)), "{}: {:?}", self.case.name, info.failures);
    }
}
