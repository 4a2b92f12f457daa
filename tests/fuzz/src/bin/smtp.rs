#![no_main]

use mailstore_fuzz::kinds::Kind;
use mailstore_fuzz::{memory, seeds, session};

libfuzzer_sys::fuzz_target!(init: seeds::write_for(Kind::Smtp), |data: &[u8]| {
    session::play(Kind::Smtp, data, memory::live);
});
