//! Where an instance's one policy sits between calls, and what every decision does alike: describe and
//! configure. Knows nothing of the decisions.

use crate::bindings::lifecycle::exports::tidegate::policy::lifecycle as wire;
use crate::lifecycle::{Description, Package, Problem, Setup};
use std::marker::PhantomData;

/// A registered policy: `register!` writes this, with a thread-local place to sit.
pub trait Seated: Sized + 'static {
    /// Name and version of its crate.
    const PACKAGE: Package;

    /// Lends the policy.
    fn seat<R>(call: impl FnOnce(&mut Self) -> R) -> R;

    /// What it says of itself.
    fn describe(&self, package: Package) -> Description;

    /// Takes its configuration.
    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>>;
}

/// Brings a policy to its seat and does nothing with it.
pub fn visit<T: Seated>() {
    T::seat(|_| ());
}

/// Turns the host's calls into calls of the registered policy.
#[derive(Debug)]
pub struct Registered<T>(PhantomData<T>);

impl<T: Seated> wire::Guest for Registered<T> {
    fn describe() -> wire::Description {
        crate::panic::tell_host();
        T::seat(|policy| policy.describe(T::PACKAGE)).into()
    }

    fn configure(setup: wire::Setup) -> Vec<wire::Problem> {
        crate::panic::tell_host();
        let setup = setup.into();
        crate::cluster::make_room(&setup);
        let problems = T::seat(|policy| policy.configure(&setup)).err().unwrap_or_default();
        problems.into_iter().map(Into::into).collect()
    }
}
