//! Snapshots of the spool (scripts/backup): whole whatever happens while they are made, proven, thinned out by a rule, and good to go on from.

mod damage;
mod dovecot;
mod interrupted;
mod page;
mod place;
mod refused;
#[path = "../support/mod.rs"]
mod support;
mod thinned;
mod units;
mod whole;
