//! Policies from outside: hand-written components, good and hostile, asked through the front door.
#![allow(missing_docs, unreachable_pub, dead_code)]

mod broken;
mod contained;
mod desk;
mod fed;
mod guest;
mod lookups;
mod misdeeds;
mod native;
mod recorded;
mod refused;
mod replayed;
mod sandboxed;
mod swapped;
mod swapped_under_load;
mod together;
