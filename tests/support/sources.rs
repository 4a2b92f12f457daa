//! A copy of the project's sources that may be changed: what `scripts/install` installs from.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Lab, run};

/// A copy of the sources, as far as the installation needs them, that may be changed; and a program to install that belongs to them.
pub struct Sources {
    pub dir: PathBuf,
}

impl Sources {
    pub fn new(lab: &Lab) -> Sources {
        let dir = lab.folder("sources");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["scripts", "docs", "mailstore.ini", "README.md", "SECURITY.md", "CHANGELOG.md", "Cargo.toml"] {
            run("cp", &["-a".as_ref(), root.join(name).as_os_str(), dir.as_os_str()]).ok();
        }
        fs::copy(env!("CARGO_BIN_EXE_start_proxies"), dir.join("start_proxies")).unwrap();
        Sources { dir }
    }

    pub fn binary(&self) -> PathBuf {
        self.dir.join("start_proxies")
    }

    /// What a later version is: another program, another line in mailstore.ini, a tool that came and one that went.
    pub fn renew(&self) {
        let mut program = fs::read(self.binary()).unwrap();
        program.extend(b"newer");
        fs::write(self.binary(), program).unwrap();
        self.change("mailstore.ini", |text| text + "\n# Another example.\n");
        self.change("docs/mailstore.service", |text| text.replace("RestartSec=5", "RestartSec=6"));
        self.change("docs/mailstore-user.service", |text| text.replace("RestartSec=5", "RestartSec=6"));
        self.change("scripts/packaging/stage.sh", |text| text.replace("tools=\"check ", "tools=\"again "));
        fs::rename(self.dir.join("scripts/check"), self.dir.join("scripts/again")).unwrap();
    }

    pub fn change(&self, file: &str, change: impl Fn(String) -> String) {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let changed = change(text.clone());
        assert_ne!(changed, text, "{file}");
        fs::write(path, changed).unwrap();
    }

    pub fn script(&self) -> PathBuf {
        self.dir.join("scripts/install")
    }
}
