//! `tidegate plugin …` as a policy's author meets it: through the binary, in a folder outside the repository. Knows
//! nothing of how a command does its work.

mod author;
mod look;
mod project;
