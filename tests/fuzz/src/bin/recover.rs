#![no_main]

use mailstore_fuzz::{part_seeds, parts};

libfuzzer_sys::fuzz_target!(init: part_seeds::write_for("recover"), |data: &[u8]| parts::left_behind(data));
