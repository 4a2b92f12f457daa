//! What may happen: steps with plain numbers, which mean what there is at that moment, so that a script shrinks well.

use proptest::prelude::*;

use super::world::{Refusal, Ways};
use crate::config::Follow;

/// Messages of the client's view, from 0.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) from: u8,
    pub(super) to: Option<u8>,
    /// Up to the last one.
    pub(super) star: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Say {
    Select(u8, bool),
    Fetch {
        by_uid: bool,
        set: Set,
        items: u8,
    },
    /// The next chunk of a download.
    Chunk {
        by_uid: bool,
        which: u8,
        len: u8,
        again: bool,
    },
    Store {
        by_uid: bool,
        set: Set,
        how: u8,
    },
    Expunge,
    UidExpunge(Set),
    Close,
    Unselect,
    Noop,
    Search {
        by_uid: bool,
        deleted: bool,
    },
    Copy {
        by_uid: bool,
        set: Set,
        to: u8,
        moves: bool,
    },
    Append {
        to: u8,
        len: usize,
        sync: bool,
    },
    /// Or DONE.
    Idle,
    Enable,
    Logout,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// And whether it waits for the answer.
    Say(usize, Say, bool),
    /// So many octets of the client's reach the proxy.
    Up(usize, usize),
    /// The server executes a command.
    Serve(usize),
    /// So many octets of the server's reach the proxy.
    Down(usize, usize),
    /// The server says what it may without being asked.
    Push(usize),
    Rest(usize),
    /// All arrives, and is answered.
    Quiet(usize),
    /// The client closes its side.
    Leave(usize),
    /// Somebody past the proxy delivers, flags, removes.
    Deliver {
        to: u8,
        len: usize,
        flags: u8,
    },
    Flag {
        of: u8,
        nth: u8,
        deleted: bool,
    },
    Remove {
        of: u8,
        nth: u8,
    },
}

/// What FETCHes ask for.
pub(super) const ITEMS: [&str; 23] = [
    "(BODY.PEEK[])",
    "(UID BODY[])",
    "RFC822",
    "(UID INTERNALDATE RFC822.SIZE BODY.PEEK[])",
    "(BODY.PEEK[HEADER] BODY.PEEK[TEXT])",
    "BODY.PEEK[HEADER]",
    "BODY.PEEK[TEXT]",
    "RFC822.HEADER",
    "RFC822.TEXT",
    "BODY.PEEK[1]",
    "(UID BODY[1])",
    "(UID BINARY.PEEK[1])",
    "BODY.PEEK[TEXT]<0.10>",
    "BODY.PEEK[TEXT]<3.9>",
    "BODY.PEEK[1]<0.10>",
    "BODY[1]<0.10>",
    "BODY.PEEK[]<0.10>",
    "BODY[]<0.5000>",
    "BODY.PEEK[]<7.20>",
    "BODY.PEEK[1.MIME]",
    "BODY.PEEK[HEADER]<0.10>",
    "BODY.PEEK[HEADER.FIELDS (SUBJECT)]",
    "(FLAGS UID)",
];

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) ways: Ways,
    pub(super) follow: Follow,
    pub(super) refusals: Vec<(u8, bool)>,
    /// What the clients' tags begin with.
    pub(super) tags: [&'static str; 2],
    pub(super) messages: Vec<(u8, usize)>,
    /// Clients begin with the inbox.
    pub(super) selected: bool,
    pub(super) steps: Vec<Step>,
}

/// The inbox more often than the others.
pub(super) fn mailbox(number: u8) -> usize {
    [0, 0, 0, 0, 0, 1, 1, 2][usize::from(number) % 8]
}

fn set() -> impl Strategy<Value = Set> {
    (0..9u8, prop::option::weighted(0.4, 0..9u8), prop::bool::weighted(0.15)).prop_map(|(from, to, star)| Set {
        from,
        to,
        star,
    })
}

fn len(len_max: usize) -> impl Strategy<Value = usize> {
    prop_oneof![30 => 0..8usize, 100 => 20..120usize, 8 => 4000..9000usize, 1 => 262_100..262_200usize]
        .prop_map(move |len| len.min(len_max))
}

fn say(len_max: usize) -> impl Strategy<Value = Say> {
    let by_uid = any::<bool>;
    prop_oneof![
        6 => (any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(which, read_only)| Say::Select(which, read_only)),
        14 => (by_uid(), set(), any::<u8>()).prop_map(|(by_uid, set, items)| Say::Fetch { by_uid, set, items }),
        8 => (by_uid(), any::<u8>(), any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(by_uid, which, len, again)| Say::Chunk { by_uid, which, len, again }),
        9 => (by_uid(), set(), any::<u8>()).prop_map(|(by_uid, set, how)| Say::Store { by_uid, set, how }),
        4 => Just(Say::Expunge),
        2 => set().prop_map(Say::UidExpunge),
        2 => Just(Say::Close),
        1 => Just(Say::Unselect),
        5 => Just(Say::Noop),
        2 => (by_uid(), any::<bool>()).prop_map(|(by_uid, deleted)| Say::Search { by_uid, deleted }),
        4 => (by_uid(), set(), any::<u8>(), any::<bool>())
            .prop_map(|(by_uid, set, to, moves)| Say::Copy { by_uid, set, to, moves }),
        3 => (any::<u8>(), len(len_max), any::<bool>()).prop_map(|(to, len, sync)| Say::Append { to, len, sync }),
        5 => Just(Say::Idle),
        2 => Just(Say::Enable),
        1 => Just(Say::Logout),
    ]
}

fn step(len_max: usize) -> impl Strategy<Value = Step> {
    let who = || 0..2usize;
    let octets = || prop_oneof![1..20usize, 20..200usize, Just(100_000)];
    prop_oneof![
        40 => (who(), say(len_max), prop::bool::weighted(0.6)).prop_map(|(who, say, waits)| Step::Say(who, say, waits)),
        12 => (who(), octets()).prop_map(|(who, octets)| Step::Up(who, octets)),
        12 => who().prop_map(Step::Serve),
        16 => (who(), octets()).prop_map(|(who, octets)| Step::Down(who, octets)),
        3 => who().prop_map(Step::Push),
        4 => who().prop_map(Step::Rest),
        6 => who().prop_map(Step::Quiet),
        1 => who().prop_map(Step::Leave),
        6 => (any::<u8>(), len(len_max), prop_oneof![4 => Just(0u8), 1 => Just(2u8)])
            .prop_map(|(to, len, flags)| Step::Deliver { to, len, flags }),
        3 => (any::<u8>(), 0..9u8, any::<bool>()).prop_map(|(of, nth, deleted)| Step::Flag { of, nth, deleted }),
        8 => (any::<u8>(), 0..9u8).prop_map(|(of, nth)| Step::Remove { of, nth }),
    ]
}

fn ways() -> impl Strategy<Value = Ways> {
    let refusal = prop_oneof![
        Just(Refusal::No),
        Just(Refusal::Bad),
        Just(Refusal::BareOk),
        Just(Refusal::OverQuota),
        Just(Refusal::Search),
    ];
    let flags = prop::collection::vec(prop::bool::weighted(0.2), 13);
    (flags, prop::option::weighted(0.15, refusal)).prop_map(|(flags, refusal)| Ways {
        pushes: flags[0],
        no_origin: flags[1],
        whole_for_chunk: flags[2],
        uid_last: flags[3],
        flags_always: flags[4],
        nil_at_end: flags[5],
        quotes: flags[6],
        decoys: flags[7],
        no_validity: flags[8],
        not_sticky: flags[9],
        expunged_is_ok: flags[10],
        vanished: flags[11],
        full: flags[12],
        refusal,
    })
}

fn follow() -> impl Strategy<Value = Follow> {
    prop_oneof![2 => Just(Follow::No), 1 => Just(Follow::Inbox), 1 => Just(Follow::All)]
}

/// Of at most so many steps, with messages of at most so many octets or a few more.
pub(super) fn case(steps: usize, len_max: usize) -> impl Strategy<Value = Case> {
    let refusals = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec((any::<u8>().prop_map(|n| n % 20), any::<bool>()), 1..5)];
    let tags = prop::sample::select(vec!["c", "X", "X1", "x"]);
    let messages = prop::collection::vec((any::<u8>(), len(len_max)), 0..12);
    (
        ways(),
        follow(),
        refusals,
        [tags.clone(), tags],
        messages,
        prop::bool::weighted(0.8),
        prop::collection::vec(step(len_max), 0..steps),
    )
        .prop_map(|(ways, follow, refusals, tags, messages, selected, steps)| Case {
            ways,
            follow,
            refusals,
            tags,
            messages,
            selected,
            steps,
        })
}
