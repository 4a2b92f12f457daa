//! The fuzz targets' common part: what an input says, how it is played, what has to hold.
//!
//! `input`, `host`, `kinds`, `session` and `seeds` are compiled into the project's tests as well (`tests/fuzzed.rs`): what is looked for at length here is
//! looked for in short there.

pub mod host;
pub mod input;
pub mod kinds;
pub mod memory;
pub mod part_seeds;
pub mod parts;
pub mod peers;
pub mod seeds;
pub mod session;

#[global_allocator]
static COUNTING: memory::Counting = memory::Counting;
