//! Runs cases natively, each on a thread of its own: its policy, store and counters begin empty. Knows nothing of
//! how a case is read or compared.

use super::form::{Case, Request};
use super::{AuthorizeCase, BalanceCase, PlaceCase, ShareCase, answer, cluster, differences, files, read};
use crate::allocate::Allocate;
use crate::authorize::Authorize;
use crate::balance::Balance;
use crate::lifecycle::Setup;
use crate::seat::Seated;
use crate::share::Share;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// Runs the cases of a folder against a policy of authorize.
///
/// # Panics
/// If an answer is not as expected, a file has a mistake or there is none; the message says where.
pub fn authorize<T: Authorize + Seated>(folder: impl AsRef<Path>) {
    run(folder.as_ref(), |case: AuthorizeCase| {
        configure::<T>("authorize", &case.config, &case.lookups)?;
        let request = case.request.request();
        let answer = repeated(case.repeat, || T::seat(|policy| policy.authorize(&request)));
        Ok(answer::of_authorize(&answer))
    });
}

/// Runs the cases of a folder against a policy of allocate.
///
/// # Panics
/// As [`authorize`].
pub fn allocate<T: Allocate + Seated>(folder: impl AsRef<Path>) {
    run(folder.as_ref(), |case: PlaceCase| {
        configure::<T>("allocate", &case.config, &case.lookups)?;
        let (request, cluster) = (case.request.request(), cluster(&case.cluster));
        let answer = repeated(case.repeat, || T::seat(|policy| policy.place(&request, &cluster)));
        Ok(answer::of_place(&answer))
    });
}

/// Runs the cases of a folder against a policy of balance.
///
/// # Panics
/// As [`authorize`].
pub fn balance<T: Balance + Seated>(folder: impl AsRef<Path>) {
    run(folder.as_ref(), |case: BalanceCase| {
        configure::<T>("balance", &case.config, &case.lookups)?;
        let (request, cluster) = (case.request.request(), cluster(&case.cluster));
        let wishes = repeated(case.repeat, || T::seat(|policy| policy.balance(&request, &cluster)));
        Ok(answer::of_balance(&wishes))
    });
}

/// Runs the cases of a folder against a policy of share.
///
/// # Panics
/// As [`authorize`].
pub fn share<T: Share + Seated>(folder: impl AsRef<Path>) {
    run(folder.as_ref(), |case: ShareCase| {
        configure::<T>("share", &case.config, &case.lookups)?;
        let room = case.request.request();
        let shares = repeated(case.repeat, || T::seat(|policy| policy.share(&room)));
        Ok(answer::of_share(&shares))
    });
}

fn configure<T: Seated>(decision: &str, config: &Value, lookups: &[String]) -> Result<(), String> {
    let setup = Setup {
        decision: decision.to_owned(),
        lookups: lookups.to_vec(),
        ..Setup::with_configuration(config)
    };
    T::seat(|policy| policy.configure(&setup)).map_err(|problems| {
        let told = problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message));
        format!("the policy does not accept `config`: {}", told.collect::<Vec<_>>().join("; "))
    })
}

fn repeated<A>(times: u32, mut ask: impl FnMut() -> A) -> A {
    for _ in 1..times {
        ask();
    }
    ask()
}

fn run<R, E>(folder: &Path, decide: fn(Case<R, E>) -> Result<Value, String>)
where
    R: DeserializeOwned + Request + Clone + Send + 'static,
    E: DeserializeOwned + Clone + Into<Value> + Send + 'static,
{
    let files = files(folder).unwrap_or_else(|error| panic!("{error}"));
    assert!(!files.is_empty(), "{}: there is no case file (*.json)", folder.display());
    let mut wrong = Vec::new();
    for file in files {
        let cases = read::<R, E>(&file).unwrap_or_else(|error| panic!("{error}"));
        for case in cases {
            let told = judge(case.clone(), decide);
            wrong.extend(told.into_iter().map(|told| format!("{}: {:?}: {told}", file.display(), case.name)));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

/// What is wrong with the answer to a case.
fn judge<R, E>(case: Case<R, E>, decide: fn(Case<R, E>) -> Result<Value, String>) -> Vec<String>
where
    R: Clone + Send + 'static,
    E: Clone + Into<Value> + Send + 'static,
{
    let expected = case.expect.clone().into();
    match std::thread::spawn(move || decide(case)).join() {
        Ok(Ok(found)) => differences(&expected, &found).iter().map(ToString::to_string).collect(),
        Ok(Err(problem)) => vec![problem],
        Err(_) => vec!["the policy panicked: see above".to_owned()],
    }
}
