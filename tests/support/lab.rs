//! The temporary folder of a test, with an authority of its own and certificates signed by it.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// A PEM certificate (with its chain) and the key to it.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// A temporary folder; all that a test writes lies in it.
pub struct Lab {
    dir: tempfile::TempDir,
    /// Counts what was started, to name its folder.
    count: AtomicU32,
}

impl Lab {
    /// A folder that every user may walk through: the servers run as users of their own.
    pub fn new() -> Lab {
        let dir = tempfile::Builder::new().prefix("ms-").tempdir().expect("a temporary folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let lab = Lab { dir, count: AtomicU32::new(0) };
        lab.make_certificates();
        lab
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new folder, numbered. Short: the path of a Unix socket has room for 108 bytes.
    pub fn folder(&self, name: &str) -> PathBuf {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.path().join(format!("{name}{count}"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The authority that a client has to trust.
    pub fn ca(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// Valid for `localhost`, 127.0.0.1 and ::1.
    pub fn certificate(&self) -> Certificate {
        self.named("server")
    }

    /// Signed by the same authority, for another host.
    pub fn wrong_name(&self) -> Certificate {
        self.extra("wrong", "DNS:elsewhere.example.net", &["-days", "30"])
    }

    /// For the right names, and over since long ago.
    pub fn expired(&self) -> Certificate {
        self.extra("expired", "DNS:localhost,IP:127.0.0.1", &["-days", "-1"])
    }

    /// Signed by itself, for the right names.
    pub fn self_signed(&self) -> Certificate {
        let mut make = self.new_key("alone");
        make.args(["-x509", "-days", "30", "-subj", "/CN=localhost", "-out", "alone.pem"]);
        openssl(make.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]));
        self.named("alone")
    }

    /// Signed by the same authority, with the host's name nowhere but in its subject.
    pub fn common_name_only(&self) -> Certificate {
        self.sign_as("common", "/CN=localhost", "basicConstraints=CA:FALSE\n", &["-days", "30"]);
        self.named("common")
    }

    /// Signed by the same authority, for these names: `DNS:localhost`.
    pub fn named_for(&self, name: &str, names: &str) -> Certificate {
        self.extra(name, names, &["-days", "30"])
    }

    fn named(&self, name: &str) -> Certificate {
        Certificate { chain: self.path().join(format!("{name}.pem")), key: self.path().join(format!("{name}.key")) }
    }

    fn extra(&self, name: &str, names: &str, validity: &[&str]) -> Certificate {
        self.sign(name, names, validity);
        self.named(name)
    }

    fn make_certificates(&self) {
        fs::write(self.path().join("openssl.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
        let mut ca = self.new_key("ca");
        ca.args(["-x509", "-days", "30", "-subj", "/CN=MailStore throw-away CA", "-out", "ca.pem"]);
        ca.args(["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign"]);
        openssl(&mut ca);
        self.sign("server", "DNS:localhost,IP:127.0.0.1,IP:::1", &["-days", "30"]);
    }

    fn sign(&self, name: &str, names: &str, validity: &[&str]) {
        let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n");
        self.sign_as(name, "/CN=MailStore test", &extensions, validity);
    }

    fn sign_as(&self, name: &str, subject: &str, extensions: &str, validity: &[&str]) {
        let mut request = self.new_key(name);
        request.args(["-subj", subject, "-out"]).arg(format!("{name}.csr"));
        openssl(&mut request);
        let file = format!("{name}.ext");
        fs::write(self.path().join(&file), extensions).unwrap();
        let mut sign = Command::new("openssl");
        sign.current_dir(self.path()).args(["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]);
        sign.args(["-extfile", &file, "-in", &format!("{name}.csr"), "-out", &format!("{name}.pem")]);
        openssl(sign.args(validity));
    }

    fn new_key(&self, name: &str) -> Command {
        let mut request = Command::new("openssl");
        request.current_dir(self.path()).args(["req", "-new", "-nodes", "-config", "openssl.cnf"]);
        request.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", &format!("{name}.key")]);
        request
    }
}

/// Ports on 127.0.0.1 that nobody had a moment ago. Who starts a server on them tries again with others when it fails.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A program's path, also in the folders that only root has in `PATH`.
pub fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("the program `{name}` is missing: scripts/test installs what the tests need"))
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn openssl(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program openssl");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
