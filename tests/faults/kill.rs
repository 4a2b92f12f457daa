//! SIGKILL before every step that the program takes on disk or on the wire, one run of the program for each.
//!
//! After each a new start has to find every message whose completion a peer was told, once and whole, and no half one; then the same session
//! has to succeed. Writes are also cut in the middle.

use std::path::{Path, PathBuf};

use crate::scenario::{self, Scenario, Stage, holds_at_least};
use crate::shim::{self, Orders, Shim, What};
use crate::support::{CLIENT, Proxy, Spool, wait_until};

struct Killer<'a> {
    scenario: &'a Scenario,
    stage: Stage,
    shim: Shim,
}

/// What a run left.
struct Left {
    dir: PathBuf,
    steps: Vec<shim::Step>,
    killed: bool,
}

impl Killer<'_> {
    fn run(&self, kill: Option<usize>, half: bool) -> Left {
        self.stage.refill();
        let dir = self.stage.folder("sync = yes");
        let (spool, trace) = (dir.join("mailSpool"), dir.join("trace"));
        let orders = Orders { trace: Some(&trace), kill, half, rules: None };
        let killed = match Proxy::try_start_in(&dir, &self.shim.environment(&spool, &orders)) {
            None => true,
            Some(mut proxy) => {
                let played = self.scenario.play(proxy.port(&format!("{}:x", self.scenario.kind.key())));
                wait_until("the session is over, or the program", CLIENT, || {
                    proxy.is_dead() || proxy.log().contains(" closed client=")
                });
                if !proxy.is_dead() {
                    played.expect("a session that nothing disturbed");
                }
                proxy.end_somehow()
            }
        };
        Left { steps: shim::read(&trace), dir, killed }
    }

    /// A new start after the crash: what was owed is there. Then the client tries again.
    fn check(&self, left: &Left, when: &str) {
        let (kind, spool) = (self.scenario.kind, left.dir.join("mailSpool"));
        let proxy = Proxy::start_in(&left.dir);
        holds_at_least(&spool, &self.scenario.owed(&left.steps, self.stage.server), when);
        holds_at_least(&spool, &self.stage.owed_by_host(self.scenario), when);
        nothing_left_over(&spool, when);
        self.stage.refill();
        self.scenario
            .play(proxy.port(&format!("{}:x", kind.key())))
            .unwrap_or_else(|e| panic!("{when}, then again: {e}"));
        proxy.stop();
        Spool::at(&spool).holds(&self.scenario.whole());
    }
}

/// A crash leaves nothing at the root that stays for ever.
fn nothing_left_over(spool: &Path, when: &str) {
    let names = std::fs::read_dir(spool).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    let odd: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(odd.is_empty(), "{when}: left over in the spool: {odd:?}");
}

fn killed_before_every_step(scenario: &Scenario) {
    let stage = Stage::new(scenario.kind, scenario.more);
    let shim = Shim::build(&stage.lab);
    let killer = Killer { scenario, stage, shim };
    let plain = killer.run(None, false);
    assert!(!plain.killed);
    Spool::at(&plain.dir.join("mailSpool")).holds(&scenario.whole());
    let writes: Vec<usize> = plain
        .steps
        .iter()
        .filter(|step| matches!(&step.what, What::Write { bytes, .. } if bytes.len() > 1))
        .map(|step| step.number)
        .collect();
    let mut runs = 0;
    for step in 1.. {
        let before = plain.steps.iter().find(|one| one.number == step);
        let when = format!(
            "killed before step {step} ({:.100})",
            before.map_or("none".to_owned(), |one| format!("{:?}", one.what))
        );
        let left = killer.run(Some(step), false);
        killer.check(&left, &when);
        runs += 1;
        if !left.killed {
            break;
        }
        if writes.contains(&step) {
            killer.check(&killer.run(Some(step), true), &format!("{when}, half of it done"));
            runs += 1;
        }
        std::fs::remove_dir_all(&left.dir).unwrap();
    }
    println!("{runs} runs, {} steps", plain.steps.len());
    assert!(runs > 40, "only {runs} runs: the shim does not see what the program does");
}

#[test]
fn a_message_retrieved_by_pop3_survives_a_kill_before_every_step() {
    killed_before_every_step(&scenario::POP3_RETR);
}

#[test]
fn a_message_deleted_unread_by_pop3_survives_a_kill_before_every_step() {
    killed_before_every_step(&scenario::POP3_DELETED_UNREAD);
}

#[test]
fn messages_fetched_by_imap_survive_a_kill_before_every_step() {
    killed_before_every_step(&scenario::IMAP_FETCH);
}

#[test]
fn messages_read_in_part_or_deleted_unread_by_imap_survive_a_kill_before_every_step() {
    killed_before_every_step(&scenario::IMAP_PARTS_AND_UNREAD);
}

#[test]
fn a_message_appended_by_imap_survives_a_kill_before_every_step() {
    killed_before_every_step(&scenario::IMAP_APPEND);
}

#[test]
fn a_message_sent_by_data_survives_a_kill_before_every_step() {
    killed_before_every_step(&scenario::SMTP_DATA);
}

#[test]
fn a_message_sent_in_chunks_survives_a_kill_before_every_step() {
    killed_before_every_step(&scenario::SMTP_BDAT);
}

#[test]
fn a_message_for_several_owners_survives_a_kill_before_every_step() {
    killed_before_every_step(&scenario::SMTP_RECIPIENTS);
}

/// A crash in the middle of clearing up after a crash that left two owners' copies prepared.
#[test]
fn a_kill_before_every_step_of_a_recovery_loses_nothing() {
    let scenario = &scenario::SMTP_RECIPIENTS;
    let stage = Stage::new(scenario.kind, scenario.more);
    let shim = Shim::build(&stage.lab);
    let killer = Killer { scenario, stage, shim };
    let plain = killer.run(None, false);
    // Both owners' copies of the last message are prepared, and neither is in its folder.
    let to_folder =
        |step: &&shim::Step| matches!(&step.what, What::Rename { to, .. } if to.to_string_lossy().contains("/new/"));
    let last = plain.steps.iter().filter(to_folder).nth_back(1).expect("renames into new").number;
    let mut runs = 0;
    for step in 1.. {
        let left = killer.run(Some(last), false);
        let spool = left.dir.join("mailSpool");
        let orders = Orders { kill: Some(step), ..Orders::default() };
        let proxy = Proxy::try_start_in(&left.dir, &killer.shim.environment(&spool, &orders));
        let survived = proxy.map(Proxy::stop).is_some();
        killer.check(&left, &format!("killed before step {step} of the recovery"));
        std::fs::remove_dir_all(&left.dir).unwrap();
        runs += 1;
        if survived {
            break;
        }
    }
    println!("{runs} runs");
    assert!(runs > 10, "only {runs} runs: there was nothing to recover");
}
