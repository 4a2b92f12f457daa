//! The course of a soak: what is done to the proxies while the clients are at work, when they rest, and what is measured then.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::serves_again;
use crate::log::Counters;
use crate::mailhost::{Act, GREETING, Kind, MESSAGE};
use crate::messages::{OWNERS, user};
use crate::process::Sample;
use crate::proxies::Proxies;
use crate::random::Random;
use crate::report::{self, Figures};
use crate::verdict;
use crate::world::World;
use crate::{Outcome, process};

const TICK: Duration = Duration::from_millis(100);
/// For sessions to end by themselves: MailStore's longest patience (`client_closed_wait`, a minute), and some more.
const SESSIONS_END: Duration = Duration::from_secs(100);
/// For threads and sockets of sessions that have ended.
const SETTLE: Duration = Duration::from_secs(5);
/// For the first message that passes when the disk is back.
const BACK: Duration = Duration::from_secs(15);
/// Between two looks at a mailbox's spool.
const SWEEP_EVERY: Duration = Duration::from_millis(60);
/// Of a client thread between two sessions, ms.
const PACE_MAX_MS: u64 = 5_000;
const FAULTY_EVERY: usize = 5;

/// How often things are done, by the time there is.
struct Rhythm {
    sample: Duration,
    pace: Duration,
    reload: Duration,
    disturb: Duration,
    /// How long the spool is away, and how long the servers break off.
    disturbance: Duration,
    idle: Duration,
    table: Duration,
}

impl Rhythm {
    fn new(time: Duration) -> Rhythm {
        let of = |part: u32, least_s: f64, most_s: f64| {
            (time / part).clamp(Duration::from_secs_f64(least_s), Duration::from_secs_f64(most_s))
        };
        Rhythm {
            sample: of(20, 0.5, 10.0),
            pace: Duration::from_secs(1),
            reload: of(20, 1.0, 60.0),
            disturb: of(6, 3.0, 300.0),
            disturbance: of(30, 0.5, 8.0),
            idle: of(30, 4.0, 120.0),
            table: of(4, 30.0, 300.0),
        }
    }
}

/// Something that is done again and again.
struct Turn {
    every: Duration,
    last: Instant,
    count: usize,
}

impl Turn {
    fn new(every: Duration) -> Turn {
        Turn { every, last: Instant::now(), count: 0 }
    }

    /// True when it is time again; how often it was, before that.
    fn comes(&mut self) -> Option<usize> {
        if self.last.elapsed() < self.every {
            return None;
        }
        self.last = Instant::now();
        self.count += 1;
        Some(self.count - 1)
    }
}

pub(crate) struct Course<'a> {
    world: &'a World,
    begun: Instant,
    time: Duration,
    load_percent: u64,
    random: Random,
    /// Seconds since the start, and the sample.
    idle: Vec<(f64, Sample)>,
    figures: Figures,
}

impl<'a> Course<'a> {
    pub(crate) fn new(world: &'a World, time: Duration, load_percent: u64) -> Course<'a> {
        world.gate.pace_ms.store(500, Ordering::Relaxed);
        let random = Random::new(world.seed ^ 0xc0_4453);
        Course {
            world,
            begun: Instant::now(),
            time,
            load_percent,
            random,
            idle: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// Until the time is over, somebody interrupts it, or the proxies are gone.
    pub(crate) fn run(&mut self, proxies: &mut Proxies, interrupted: &AtomicBool) {
        let rhythm = Rhythm::new(self.time);
        let [mut sample, mut pace, mut reload, mut disturb, mut idle, mut table] =
            [rhythm.sample, rhythm.pace, rhythm.reload, rhythm.disturb, rhythm.idle, rhythm.table].map(Turn::new);
        // Before anything happened: the measure for all that follows.
        self.rest(proxies);
        let mut cpu_s = self.cpu_s(proxies);
        while self.begun.elapsed() < self.time && !interrupted.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            if let Some(status) = proxies.ended() {
                self.world.notebook.finding(format_args!("start_proxies is gone: {status}"));
                return;
            }
            if sample.comes().is_some() {
                self.look(proxies);
            }
            let since = pace.last.elapsed();
            if pace.comes().is_some() {
                let now = self.cpu_s(proxies);
                self.set_pace(now - cpu_s, since);
                cpu_s = now;
            }
            if let Some(round) = reload.comes() {
                self.reload(proxies, round);
            }
            if let Some(round) = disturb.comes() {
                let until = Instant::now() + rhythm.disturbance;
                if round.is_multiple_of(2) { self.without_spool(until) } else { self.with_bad_servers(until) }
            }
            if idle.comes().is_some() {
                self.rest(proxies);
                // What passed meanwhile says nothing of the pace.
                (cpu_s, pace.last, idle.last) = (self.cpu_s(proxies), Instant::now(), Instant::now());
            }
            if table.comes().is_some() {
                self.report(self.time);
            }
        }
    }

    /// The last rest, an orderly end, one more start for what was left over, and the last look at the spool.
    pub(crate) fn end(&mut self, proxies: &mut Proxies, program: &Path) -> Outcome<()> {
        let notebook = &self.world.notebook;
        if proxies.ended().is_none() {
            self.rest(proxies);
            let status = proxies.stop();
            if status.is_none_or(|status| status.code() != Some(0)) {
                notebook.finding(format_args!("start_proxies did not end in order after SIGTERM: {status:?}"));
            }
        }
        let status = proxies.recover(program, notebook)?;
        if status.is_none_or(|status| status.code() != Some(0)) {
            notebook.finding(format_args!("start_proxies did not end in order after a second start: {status:?}"));
        }
        let unfinished = self.world.spool.unfinished();
        if unfinished > 0 {
            notebook.finding(format_args!("{unfinished} files lie in tmp after a new start"));
        }
        for stranger in self.world.spool.strangers(OWNERS) {
            notebook.finding(format_args!("a Maildir that is nobody's: {}", stranger.display()));
        }
        self.check();
        let samples: Vec<Sample> = self.idle.iter().map(|(_, sample)| *sample).collect();
        verdict::faults(&samples).into_iter().for_each(|fault| notebook.finding(fault));
        Ok(())
    }

    pub(crate) fn report(&self, time: Duration) {
        report::print(self.world, self.begun.elapsed().min(time), &self.figures, &self.idle);
    }

    /// While there is traffic.
    fn look(&mut self, proxies: &Proxies) {
        if let Ok(sample) = proxies.sample() {
            self.figures.busy(sample);
        }
    }

    /// Of both programs so far.
    fn cpu_s(&self, proxies: &Proxies) -> f64 {
        [proxies.pid(), std::process::id()]
            .iter()
            .filter_map(|pid| process::Sample::of(*pid).ok())
            .map(|one| one.cpu_s)
            .sum()
    }

    fn set_pace(&self, cpu_s: f64, time: Duration) {
        let pace = self.world.gate.pace_ms.load(Ordering::Relaxed);
        let is_too_fast = cpu_s * 100.0 > self.load_percent as f64 * time.as_secs_f64();
        let pace = if is_too_fast { pace + pace / 8 + 1 } else { pace - pace / 16 };
        self.world.gate.pace_ms.store(pace.clamp(2, PACE_MAX_MS), Ordering::Relaxed);
    }

    fn reload(&mut self, proxies: &Proxies, round: usize) {
        let faulty = round % FAULTY_EVERY == FAULTY_EVERY - 1;
        if !proxies.reload(round, faulty) {
            self.world.notebook.finding(format_args!("SIGHUP number {round} had no answer in the log"));
        }
        self.world.notebook.count(if faulty { "signals: SIGHUP, faulty file" } else { "signals: SIGHUP" });
        self.counters(proxies);
    }

    fn counters(&mut self, proxies: &Proxies) -> Counters {
        if !proxies.tell_counters() {
            self.world.notebook.finding("SIGUSR1 had no answer in the log");
        }
        self.world.notebook.count("signals: SIGUSR1");
        self.figures.counters = proxies.log.seen().counters;
        self.figures.counters
    }

    /// Nothing can be kept; then it can again, without a restart.
    fn without_spool(&self, until: Instant) {
        let notebook = &self.world.notebook;
        notebook.disturb();
        let taken = self.world.spool.take_away();
        notebook.count("disturbances: the spool was away");
        while Instant::now() < until {
            thread::sleep(TICK);
        }
        if let Err(e) = taken.and_then(|away| away.bring_back()) {
            notebook.finding(format_args!("the soak could not move the spool: {e}"));
        }
        if !serves_again(self.world, BACK) {
            notebook.finding("no message passes, though the spool is back");
        }
        notebook.calm();
    }

    /// Servers break off in the middle of what they say, or say no.
    fn with_bad_servers(&mut self, until: Instant) {
        self.world.notebook.disturb();
        self.world.notebook.count("disturbances: the servers broke off");
        while Instant::now() < until {
            let (cut, later) = (Act::Cut(self.random.below(20_000)), Act::Reply("451 4.3.0 later\r\n".to_owned()));
            let full = Act::Reply("{tag} NO [OVERQUOTA] full\r\n".to_owned());
            let acts = [
                (Kind::Pop3, GREETING, Act::Close),
                (Kind::Pop3, "PASS", Act::Close),
                (Kind::Pop3, "RETR", Act::Close),
                (Kind::Pop3, "RETR", cut.clone()),
                (Kind::Pop3, "DELE", Act::Close),
                (Kind::Pop3, "QUIT", Act::Close),
                (Kind::Imap, GREETING, Act::Close),
                (Kind::Imap, "SELECT", Act::Close),
                (Kind::Imap, "UID FETCH", cut.clone()),
                (Kind::Imap, "FETCH", cut),
                (Kind::Imap, "UID STORE", Act::Close),
                (Kind::Imap, "UID MOVE", Act::Close),
                (Kind::Imap, MESSAGE, Act::Close),
                (Kind::Imap, MESSAGE, full),
                (Kind::Smtp, GREETING, Act::Close),
                (Kind::Smtp, "DATA", Act::Close),
                (Kind::Smtp, MESSAGE, Act::Close),
                (Kind::Smtp, MESSAGE, later),
            ];
            let (kind, event, act) = acts[self.random.below(acts.len())].clone();
            self.world.host.script.once(kind, event, act);
            thread::sleep(TICK * 2);
        }
        self.world.host.script.clear();
        self.world.notebook.calm();
    }

    /// All clients pause until every session is closed: then memory, threads and file descriptors are what stays, and every claim is due.
    fn rest(&mut self, proxies: &Proxies) {
        let gate = &self.world.gate;
        gate.close();
        if !until(SESSIONS_END, || gate.is_empty()) {
            self.world.notebook.finding("clients wait for an answer that does not come");
        }
        let mut open = self.counters(proxies).open;
        let end = Instant::now() + SESSIONS_END;
        while open > 0 && Instant::now() < end {
            thread::sleep(TICK);
            open = self.counters(proxies).open;
        }
        if open > 0 {
            self.world.notebook.finding(format_args!("{open} sessions do not close"));
        }
        self.check();
        if let Some(sample) = self.settled(proxies) {
            self.idle.push((self.begun.elapsed().as_secs_f64(), sample));
            say!("{:>5.0} s idle: {}", self.begun.elapsed().as_secs_f64(), report::sample(&sample));
        }
        gate.open();
    }

    /// Looks through the whole spool; then every claim has to be met.
    fn check(&mut self) {
        let World { ledger, spool, notebook, .. } = self.world;
        (0..OWNERS).for_each(|owner| spool.sweep(owner, &mut self.random, ledger, notebook));
        let now = Instant::now();
        let excused =
            |owner: usize, since| notebook.is_disturbed(since, now) || notebook.was_not_kept(&user(owner), since);
        ledger.settle(excused).into_iter().for_each(|missing| notebook.finding(missing));
    }

    /// The sample, once what sessions leave behind for a moment is gone.
    fn settled(&self, proxies: &Proxies) -> Option<Sample> {
        let first = self.idle.first().map(|(_, first)| (first.threads, first.fds));
        let mut sample = None;
        until(SETTLE, || {
            let before: Option<Sample> = sample;
            sample = proxies.sample().ok();
            let now = sample.map(|now| (now.threads, now.fds));
            // The first time nobody knows what it should be: what does not change any more.
            now.is_some() && now == first.or(before.map(|before| (before.threads, before.fds)))
        });
        sample
    }
}

/// Looks through one mailbox's spool after the other, until the end.
pub(crate) fn sweep_on(world: &World) {
    let mut random = Random::new(!world.seed);
    for owner in (0..OWNERS).cycle() {
        if world.gate.is_over() {
            return;
        }
        thread::sleep(SWEEP_EVERY);
        world.spool.sweep(owner, &mut random, &world.ledger, &world.notebook);
    }
}

fn until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(TICK);
    }
}
