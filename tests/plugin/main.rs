//! `tidegate plugin …` as a policy's author meets it: through the binary, in a folder outside the repository. Knows
//! nothing of how a command does its work.

mod author;
mod look;
mod project;
mod replay;

// A day on record, as the policy runtime's own tests have it.
#[allow(missing_docs, unreachable_pub, dead_code)]
#[path = "../../host/policy/tests/policies/desk.rs"]
mod desk;
#[allow(missing_docs, unreachable_pub, dead_code)]
#[path = "../../host/policy/tests/policies/guest.rs"]
mod guest;
#[allow(missing_docs, unreachable_pub, dead_code)]
#[path = "../../host/policy/tests/policies/misdeeds.rs"]
mod misdeeds;
#[allow(missing_docs, unreachable_pub, dead_code)]
#[path = "../../host/policy/tests/policies/recorded.rs"]
mod recorded;
