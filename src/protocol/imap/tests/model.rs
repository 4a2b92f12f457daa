//! Sessions of any kind against a model of a server: nothing slips by, nothing goes that nobody asked to delete, and no client notices.
//!
//! Two clients, each through a session of its own over one archive, share the mailboxes (`world`) of a server (`server`) with somebody past the proxy. They
//! say what `steps` lists, pipelined or not; octets arrive in pieces and by turns. `server` checks whatever it is asked to do, `client`
//! whatever it gets to hear, `play` what is kept.

mod client;
mod fetch;
mod host;
mod play;
mod server;
mod steps;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};

use self::play::Game;
use self::steps::{Case, Step, case};

/// Plays it; what went wrong, behind all that had happened.
fn play(case: &Case, piece: usize, run: impl FnOnce(&mut Game)) -> Result<Game, TestCaseError> {
    let mut game = None;
    let played = catch_unwind(AssertUnwindSafe(|| {
        run(game.insert(Game::new(case, piece)));
    }));
    let game = game.ok_or_else(|| TestCaseError::fail("the login failed"))?;
    match played {
        Ok(()) => Ok(game),
        Err(why) => {
            let why =
                why.downcast_ref::<String>().cloned().or_else(|| why.downcast_ref::<&str>().map(|&why| why.to_owned()));
            let why = why.unwrap_or_default();
            Err(TestCaseError::fail(format!("{why}\n{:?}\n{}\n{why}", case.ways, game.world.log.join("\n"))))
        }
    }
}

fn config(cases: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    Config { cases, failure_persistence: None, max_shrink_iters: 3000, ..Config::default() }
}

proptest! {
    #![proptest_config(config(1200))]

    #[test]
    fn nothing_slips_by(case in case(80, usize::MAX)) {
        play(&case, 1000, Game::play)?;
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// Where nothing overtakes anything, pieces make no difference.
    #[test]
    fn pieces_make_no_difference(case in case(30, 500)) {
        let steps = case.steps.clone();
        let quiet = |game: &mut Game| {
            for step in &steps {
                let number = match step {
                    Step::Up(..) | Step::Down(..) | Step::Serve(_) | Step::Leave(_) => continue,
                    Step::Say(number, ..) | Step::Rest(number) | Step::Push(number) => Some(*number),
                    _ => None,
                };
                game.step(step);
                if let Some(number) = number {
                    game.step(&Step::Quiet(number));
                }
            }
        };
        // The archive refuses the n-th call, and of these pieces make more.
        let case = Case { refusals: Vec::new(), ..case };
        let (whole, bytes) = (play(&case, usize::MAX, quiet)?, play(&case, 1, quiet)?);
        for number in 0..2 {
            prop_assert_eq!(whole.heard[number].escape_ascii().to_string(), bytes.heard[number].escape_ascii().to_string());
            prop_assert_eq!(whole.executed(number), bytes.executed(number));
        }
        prop_assert!(whole.kept == bytes.kept, "kept otherwise");
    }
}
