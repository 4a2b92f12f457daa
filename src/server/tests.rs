//! Server-level behaviour.
