//! Running client programs, with a deadline.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::dovecot::{entries, give_away};
use super::lab::{is_root, program};
use super::{CLIENT, Endpoint, Kind, Lab, PASSWORD, Tls};

/// What a program left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit status; none where a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    /// Fails the test where the program failed.
    pub fn ok(self) -> Output {
        assert_eq!(self.code, Some(0), "the client failed\n{}\n{}", self.text(), self.errors());
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

pub fn run(name: &str, args: &[impl AsRef<OsStr>]) -> Output {
    run_with_input(name, args, b"", Path::new("/"))
}

/// Runs a program in a folder, which is its home as well, with this as its standard input.
pub fn run_with_input(name: &str, args: &[impl AsRef<OsStr>], input: &[u8], home: &Path) -> Output {
    let mut command = Command::new(program(name));
    // Some want a terminal of a kind that every system knows.
    command.args(args).current_dir(home).env("HOME", home).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
    run_command(command, input)
}

/// Runs this command with this as its standard input.
pub fn run_command(mut command: Command, input: &[u8]) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let out = read_all(child.stdout.take().unwrap());
    let err = read_all(child.stderr.take().unwrap());
    let code = wait(&mut child, CLIENT);
    let _ = writer.join();
    let output = Output { code: code.flatten(), stdout: out.join().unwrap(), stderr: err.join().unwrap() };
    assert!(code.is_some(), "{name} did not end within {CLIENT:?}\n{}\n{}", output.text(), output.errors());
    output
}

/// The system's Python, which the clients are packaged for. Arguments: host, port, TLS (as in the INI file), the
/// authority's file, then these.
pub fn python(lab: &Lab, script: &str, at: Endpoint, args: &[&str]) -> Output {
    python_with_input(lab, script, at, args, b"")
}

/// The same with this as its standard input.
pub fn python_with_input(lab: &Lab, script: &str, at: Endpoint, args: &[&str], input: &[u8]) -> Output {
    let port = at.port.to_string();
    let ca = lab.ca();
    let mut all = vec!["-c", script, "localhost", &port, at.tls.key(), ca.to_str().unwrap()];
    all.extend(args);
    let output = run_with_input("/usr/bin/python3", &all, input, lab.path());
    output.ok()
}

/// curl with everything that the endpoint asks for; `path` is what follows the port in the URL.
pub fn curl(lab: &Lab, at: Endpoint, user: &str, path: &str, args: &[&str]) -> Output {
    curl_with_input(lab, at, user, path, args, b"")
}

/// The same with this as curl's standard input.
pub fn curl_with_input(lab: &Lab, at: Endpoint, user: &str, path: &str, args: &[&str], input: &[u8]) -> Output {
    let scheme = match (at.kind, at.tls) {
        (kind, Tls::Implicit) => format!("{}s", kind.key()),
        (kind, _) => kind.key().to_owned(),
    };
    let (url, ca) = (format!("{scheme}://localhost:{}{path}", at.port), lab.ca());
    let login = format!("{user}:{PASSWORD}");
    let mut all = vec!["-sS", "-4", "--max-time", "100", "--cacert", ca.to_str().unwrap()];
    if !user.is_empty() {
        all.extend(["--user", &login]);
    }
    if at.tls == Tls::StartTls {
        all.push("--ssl-reqd");
    }
    all.extend(args);
    all.push(&url);
    run_with_input("curl", &all, input, lab.path())
}

/// Runs fetchmail once, with options for the server and for the user; gives all that it delivered, one message after the
/// other, with the user's name replaced. Fails unless it used this verb.
pub fn fetchmail(lab: &Lab, at: Endpoint, server: &str, user: &str, more: &str, verb: &str) -> Vec<u8> {
    let home = lab.folder("fetchmail");
    let ca = lab.ca();
    let tls = match at.tls {
        Tls::None => "sslproto ''".to_owned(),
        Tls::StartTls => format!("sslproto 'tls1.2+' sslcertck sslcertfile '{}'", ca.display()),
        Tls::Implicit => format!("ssl sslcertck sslcertfile '{}'", ca.display()),
    };
    let got = home.join("got");
    let rc = format!(
        "set no bouncemail\nset invisible\npoll localhost protocol {} port {} auth password {server}\n  \
         user '{user}' password '{PASSWORD}' {tls} {more}\n  mda 'cat >> {got}; echo =====END >> {got}'\n",
        at.kind.key(),
        at.port,
        got = got.display(),
    );
    private(&home.join("rc"), &rc);
    let (rc, lock) = (home.join("rc"), home.join("lock"));
    // For root its lock is one for the whole machine.
    let args = ["-f", rc.to_str().unwrap(), "-v", "--nosyslog", "-i", "ids", "--pidfile", lock.to_str().unwrap()];
    let output = run_with_input("fetchmail", &args, b"", &home).ok();
    assert!(output.text().contains(verb), "fetchmail did not {verb}:\n{}", output.text());
    super::replaced(&fs::read(got).unwrap_or_default(), user, "USER")
}

/// getmail as it is, but for how it waits for the process that writes into the Maildir: where that ends before getmail (6.18.11)
/// begins to wait, it waits until a time limit and takes the delivery for failed, which happens on a busy machine.
const GETMAIL_PY: &str = "
import os, runpy, sys
from getmailcore import baseclasses
baseclasses.ForkingBase._prepare_child = lambda self: None
baseclasses.ForkingBase._wait_for_child = lambda self, pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
";

/// Runs getmail once; gives what lies in its Maildir, sorted.
pub fn getmail(lab: &Lab, at: Endpoint, retriever: &str, user: &str, more: &str) -> Vec<Vec<u8>> {
    let home = lab.folder("getmail");
    for sub in ["mail", "mail/cur", "mail/new", "mail/tmp"] {
        fs::create_dir(home.join(sub)).unwrap();
    }
    let authority = if at.tls == Tls::None { String::new() } else { format!("ca_certs = {}\n", lab.ca().display()) };
    let rc = format!(
        "[retriever]\ntype = {retriever}\nserver = localhost\nport = {}\nusername = {user}\npassword = {PASSWORD}\n\
         {authority}[destination]\ntype = Maildir\npath = {}/mail/\n\
         [options]\ndelivered_to = false\nreceived = false\nread_all = true\n{more}\n",
        at.port,
        home.display()
    );
    run_getmail(&home, &rc);
    let mut got: Vec<Vec<u8>> = entries(&home.join("mail/new")).iter().map(|file| fs::read(file).unwrap()).collect();
    got.sort();
    got
}

/// Runs getmail once in this folder, as somebody who is not root.
pub fn run_getmail(home: &Path, rc: &str) {
    private(&home.join("rc"), rc);
    let (getmail, home_name) = (program("getmail"), home.to_str().unwrap());
    let args =
        ["/usr/bin/python3", "-c", GETMAIL_PY, getmail.to_str().unwrap(), "--getmaildir", home_name, "--rcfile", "rc"];
    if is_root() {
        // It delivers nothing as root.
        give_away(home);
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        run_with_input("setpriv", &[&user[..], &args].concat(), b"", home).ok();
    } else {
        run_with_input("env", &args, b"", home).ok();
    }
}

/// All messages in the Maildirs below a folder, sorted, by the Maildir's path in it.
pub fn maildirs(root: &Path) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut found: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in entries(&dir) {
            let parent = dir.file_name().unwrap().to_str().unwrap();
            if entry.is_dir() {
                todo.push(entry);
            } else if ["new", "cur"].contains(&parent) {
                let folder = dir.parent().unwrap().strip_prefix(root).unwrap().display().to_string();
                found.entry(folder).or_default().push(fs::read(&entry).unwrap());
            }
        }
    }
    found.values_mut().for_each(|messages| messages.sort());
    found
}

/// Writes a file that only its owner may read: it holds a password.
pub fn private(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Waits for the end; kills the program when the deadline is over (then there is no answer).
fn wait(child: &mut Child, deadline: Duration) -> Option<Option<i32>> {
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}
