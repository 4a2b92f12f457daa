//! The clients: threads that have one session after the other, orderly ones and faults.

mod faults;
mod imap;
mod pop3;
mod smtp;

use std::io;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::log::shape;
use crate::notebook::Connection;
use crate::proxies::Door;
use crate::random::Random;
use crate::world::{Failure, Result, Run, World};

/// Threads of clients that get on with it.
const BUSY: usize = 6;
/// Threads of clients that take their time.
const SLOW: usize = 3;
/// All of them, and the soak itself: each sends messages of its own.
const ITSELF: usize = BUSY + SLOW;

type Session = fn(&mut Run<'_>) -> Result<()>;

#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    is_fault: bool,
    session: Session,
}

const fn orderly(name: &'static str, session: Session) -> Scenario {
    Scenario { name, is_fault: false, session }
}

const fn fault(name: &'static str, session: Session) -> Scenario {
    Scenario { name, is_fault: true, session }
}

/// By weight.
const OF_BUSY: [(usize, Scenario); 7] = [
    (25, orderly("POP3", pop3::session)),
    (30, orderly("IMAP", imap::session)),
    (25, orderly("SMTP", smtp::session)),
    (8, fault("vanishes in the middle of a message", faults::vanish)),
    (4, fault("leaves after the end of a message", faults::leave_after_the_end)),
    (4, fault("wrong password", faults::wrong_password)),
    (4, fault("garbage", faults::garbage)),
];
const OF_SLOW: [(usize, Scenario); 5] = [
    (20, fault("half-close", faults::half_close)),
    (20, fault("never reads", faults::never_read)),
    (20, fault("says nothing", faults::say_nothing)),
    (30, fault("octet by octet", faults::slowly)),
    (10, fault("flood", faults::flood)),
];

/// Begins the threads; they end when the gate does.
pub(crate) fn start<'scope, 'env>(scope: &'scope Scope<'scope, 'env>, world: &'env World) {
    for number in 0..BUSY + SLOW {
        let seed = world.seed ^ ((number as u64 + 1) << 56);
        scope.spawn(move || {
            let mut random = Random::new(seed);
            while let Some(_inside) = world.gate.enter() {
                let scenario = if number < BUSY { random.weighed(&OF_BUSY) } else { random.weighed(&OF_SLOW) };
                one(world, scenario, &mut random, number);
                drop(_inside);
                rest(world, &mut random, number >= BUSY);
            }
        });
    }
}

/// Whether a message can be sent again, and is kept: tried until then.
pub(crate) fn serves_again(world: &World, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    let connection = Connection { scenario: "the soak's own", is_fault: true };
    let mut random = Random::new(world.seed);
    while Instant::now() < end {
        let mut run = Run::new(world, Random::new(random.next()), connection, ITSELF);
        let sent =
            smtp::Smtp::login(&run, Door::Plain).and_then(|mut smtp| smtp::send(&mut run, &mut smtp, Door::Plain));
        if matches!(sent, Ok(true)) {
            return true;
        }
        thread::sleep(Duration::from_millis(200));
    }
    false
}

fn one(world: &World, scenario: Scenario, random: &mut Random, thread: usize) {
    let Scenario { name, is_fault, session } = scenario;
    let mut run = Run::new(world, Random::new(random.next()), Connection { scenario: name, is_fault }, thread);
    let (begun, result) = (run.begun, session(&mut run));
    run.tidy_up(run.owner);
    let notebook = &world.notebook;
    notebook.count(format_args!("session: {name}"));
    let why = match result {
        Ok(()) => return,
        Err(Failure::Full) => return notebook.count("client: told to come back later"),
        Err(Failure::Answer(answer)) => shape(&answer),
        Err(Failure::Broken(e)) => broken(&e),
    };
    notebook.count(format_args!("client: {name}: {why}"));
    if !is_fault && !notebook.is_disturbed(begun, Instant::now()) {
        notebook.finding(format_args!("a session that should have gone well did not: {name} of {}: {why}", run.user()));
    }
}

fn broken(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => shape(&e.to_string()),
    }
}

/// As long as the soak's pace asks for. The slow ones do not hold up anybody.
fn rest(world: &World, random: &mut Random, is_slow: bool) {
    let pace = world.gate.pace_ms.load(std::sync::atomic::Ordering::Relaxed) as usize;
    let pace = if is_slow { 300 + pace / 2 } else { pace };
    world.gate.rest(Duration::from_millis(random.between(pace / 2, pace * 3 / 2) as u64));
}
