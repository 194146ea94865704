//! Stories of the directory on virtual time: who enters, where they stand, what they send and receive, and that
//! nothing stays behind. Knows nothing of real places and policies.

mod chaos;
mod ends;
mod grants;
mod harness;
mod joins;
mod messages;
mod moves;
mod placements;
mod relays;
mod shares;
mod speakers;
mod tracks;
