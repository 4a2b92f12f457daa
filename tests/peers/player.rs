//! One end of a connection, played by a script: up to a certain place as it should be, then badly.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use crate::support::wait_until;

/// Longer than any limit that is tested; who needs it has found a session that does not end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two octets of a trickle: much slower than any mail, much more often than any limit.
const DRIP: Duration = Duration::from_millis(100);
/// What a peer has in stock that is not listened to.
const FLOOD: usize = 24 << 20;

/// A step.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    /// Sends this.
    Say(Vec<u8>),
    /// Waits until this was said, behind what was waited for before; with nothing in it: until anything was said.
    Hear(&'static str),
    /// Sends this behind the tag of the line that was heard last.
    Tagged(&'static str),
    /// The last one.
    Be(Bad),
}

/// How a peer fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Says nothing more.
    Silent,
    /// Says this over and over, octet by octet.
    Trickle(&'static str),
    /// Breaks the connection (RST).
    Reset,
    /// Says that nothing more comes (FIN), and goes on listening.
    Fin,
    /// Reads nothing any more, and says nothing.
    Deaf,
    /// Reads an octet now and then.
    Sip,
    /// Says this over and over, as fast as it is taken.
    Flood(&'static str),
}

pub(crate) struct Player {
    tcp: TcpStream,
    /// All that was said to it.
    heard: Vec<u8>,
    /// So many octets of that were waited for.
    waited: usize,
}

impl Player {
    pub(crate) fn new(tcp: TcpStream) -> Player {
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        Player { tcp, heard: Vec::new(), waited: 0 }
    }

    /// Plays all steps, then listens to the end. What it heard. `over`: the proxy has told that the session is over.
    pub(crate) fn play(mut self, steps: &[Do], over: &AtomicBool) -> Vec<u8> {
        for step in steps {
            match step {
                Do::Say(text) => {
                    if !self.write(text) {
                        break;
                    }
                }
                Do::Hear(text) => {
                    if !self.hear(text.as_bytes()) {
                        break;
                    }
                }
                Do::Tagged(text) => {
                    let line = self.heard[..self.waited].trim_ascii_end().rsplit(|&byte| byte == b'\n').next();
                    let tag = line.and_then(|line| line.split(|&byte| byte == b' ').next()).unwrap_or_default();
                    let answer = [tag, text.as_bytes()].concat();
                    if !self.write(&answer) {
                        break;
                    }
                }
                Do::Be(bad) => return self.fail(*bad, over),
            }
        }
        self.rest()
    }

    fn fail(mut self, bad: Bad, over: &AtomicBool) -> Vec<u8> {
        match bad {
            Bad::Silent => {}
            Bad::Trickle(text) => {
                self.tcp.set_read_timeout(Some(DRIP)).unwrap();
                let end = Instant::now() + PATIENCE;
                for octet in text.as_bytes().iter().cycle() {
                    assert!(Instant::now() < end, "a trickle goes on for {PATIENCE:?}");
                    if !self.write(&[*octet]) || !self.read_more() {
                        break;
                    }
                }
                self.tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            }
            Bad::Reset => {
                setsockopt(&self.tcp, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
                return self.heard;
            }
            Bad::Fin => {
                let _ = self.tcp.shutdown(Shutdown::Write);
            }
            Bad::Deaf => {
                // What the system would read in its place.
                setsockopt(&self.tcp, sockopt::RcvBuf, &(16 << 10)).unwrap();
                // Nothing tells a peer that does not read whether the other side is there still.
                wait_until("the session with a peer that does not read is over", PATIENCE, || {
                    over.load(Ordering::Relaxed)
                });
                return self.heard;
            }
            Bad::Sip => {
                setsockopt(&self.tcp, sockopt::RcvBuf, &(16 << 10)).unwrap();
                wait_until("the session with a peer that reads next to nothing is over", PATIENCE, || {
                    let _ = self.tcp.read(&mut [0]);
                    over.load(Ordering::Relaxed)
                });
                return self.heard;
            }
            Bad::Flood(text) => {
                let bytes = text.repeat(64 * 1024 / text.len());
                for _ in 0..FLOOD / bytes.len() {
                    if !self.write(bytes.as_bytes()) {
                        break;
                    }
                }
            }
        }
        self.rest()
    }

    fn hear(&mut self, text: &[u8]) -> bool {
        loop {
            let new = &self.heard[self.waited..];
            let found = if text.is_empty() {
                (!new.is_empty()).then_some(new.len())
            } else {
                new.windows(text.len()).position(|window| window == text).map(|at| at + text.len())
            };
            if let Some(end) = found {
                self.waited += end;
                return true;
            }
            if !self.read_more() {
                return false;
            }
        }
    }

    fn rest(mut self) -> Vec<u8> {
        while self.read_more() {}
        self.heard
    }

    /// False: the other side has closed.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        let read = self.tcp.read(&mut buffer);
        match read {
            Ok(0) => false,
            Ok(count) => {
                self.heard.extend(&buffer[..count]);
                true
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                // Only a trickle waits for so short a time.
                assert_eq!(self.tcp.read_timeout().unwrap(), Some(DRIP), "nobody closed");
                true
            }
            Err(_) => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        self.tcp.write_all(bytes).is_ok()
    }
}
