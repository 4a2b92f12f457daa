//! A shim: a few functions of the C library replaced in the program under test, for what no machine can be asked to do.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Lab;

/// Compiles `tests/support/<name>.c`. For LD_PRELOAD.
pub fn shim(lab: &Lab, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(format!("{name}.c"));
    let library = lab.path().join(format!("{name}.so"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-pthread", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl");
    let output = cc.output().expect("a C compiler: the linker of Rust is one");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
