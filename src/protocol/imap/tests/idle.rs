//! IDLE.

use super::*;

#[test]
fn idle_ends_with_done() {
    selected(
        r#"
        C: c IDLE
        -> S: c IDLE
        S: + idling\r\n* 5 EXISTS
        -> C: + idling
        -> C: * 5 EXISTS
        outstanding no
        C: d NOOP
        -> C: * BAD only DONE may follow IDLE
        C: done\r\ne NOOP
        -> S: DONE
        -> S: e NOOP
        S: c OK idled\r\ne OK done
        -> C: c OK idled
        -> C: e OK done
        "#,
    );
}

#[test]
fn an_idle_that_ends_leaves_the_next_one_alone() {
    selected(
        r#"
        C: c IDLE
        -> S: c IDLE
        S: + idling
        -> C: + idling
        C: DONE\r\nd IDLE
        -> S: DONE
        -> S: d IDLE
        S: c OK idled\r\n+ idling
        -> C: c OK idled
        -> C: + idling
        C: DONE
        -> S: DONE
        S: d OK idled
        -> C: d OK idled
        C: e NOOP
        -> S: e NOOP
        "#,
    );
}

#[test]
fn the_continuation_of_an_idle_is_not_the_literals_behind_it() {
    // Taken for the literal's, it would let the next lines pass unread when the literal is refused.
    selected(
        r#"
        C: c IDLE\r\nDONE\r\nd APPEND Work {30}
        -> S: c IDLE
        -> S: DONE
        -> begin 1 joe@example.org .Work size=30
        -> S: d APPEND Work {30}
        S: + idling
        -> C: + idling
        S: c OK idled\r\nd NO [OVERQUOTA] no
        -> C: c OK idled
        -> abort 1
        -> C: d NO [OVERQUOTA] no
        C: e COMPRESS DEFLATE
        -> C: e BAD not available through MailStore
        "#,
    );
}
