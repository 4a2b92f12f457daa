//! One session's life: a place, handshakes, the server, the relay, one closing log line.
//!
//! Runs in a thread of its own. Whatever happens in it, a panic included, ends this session and no other. A client that cannot
//! be served is told so in its protocol's words.
//!
//! A session that has become quiet sleeps in another thread: a stack stays as large as it has ever been, and handshakes, logins and messages need more of it
//! than sleeping does. So what a thousand idle sessions cost does not depend on what they have done before. When something happens it
//! goes on in a thread for work again.

use std::io::{self, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::World;
use super::keeper::{Keeper, Label};
use super::limits::{Room, Ticket};
use super::privileges;
use super::proxy::Proxy;
use super::workers::{STACK, Workers};
use crate::config::TlsMode;
use crate::net::relay::Connections;
use crate::net::stream::Stream;
use crate::net::wait::Until;
use crate::net::{dial, relay, tls};
use crate::protocol::{End, Protocol};

/// To sleep on; enough to work on, where there is no other thread to be had. Less than a quarter of [`STACK`]: the C library gives the stack of a thread that has
/// ended, as it was left, to the next one that wants as much, or down to a quarter of that.
const SMALL_STACK: usize = 256 * 1024;
/// One handshake, or the way to the server.
const STEP: Duration = Duration::from_secs(30);
/// How long a session is quiet before it moves, which costs some 50 µs of CPU there and back. Longer than the way to most servers; but in a storm of logins all
/// sessions of that time have large stacks at once.
const REST_AFTER: Duration = Duration::from_millis(100);
/// How long a client is talked to that is not served.
const REFUSAL: Duration = Duration::from_secs(5);
/// How many such at once; what is above that is told in passing.
const REFUSERS_MAX: usize = 16;

static REFUSERS: AtomicUsize = AtomicUsize::new(0);
static WORKERS: Workers<Box<Session>> = Workers::new();

/// Takes a client in: a session of its own, or a refusal. Returns at once.
pub(super) fn start(world: &Arc<World>, proxy: &Arc<Proxy>, tcp: TcpStream, client: SocketAddr) {
    let ticket = match world.limits.admit(client.ip(), &room(proxy)) {
        Ok(ticket) => ticket,
        Err(full) => {
            proxy.counters.refused.add(1);
            log::warn!("{} refused client={client} reason={full}", proxy.config.name);
            return refuse(world, proxy, tcp, "Too many sessions, try again later");
        }
    };
    let label = Label { id: world.next_id(), proxy: proxy.config.name.clone(), client };
    let session = Session::new(Arc::clone(world), Arc::clone(proxy), tcp, label, ticket);
    if let Err((e, session)) = WORKERS.run(session, carry_on) {
        proxy.counters.refused.add(1);
        log::error!("{} refused client={client} reason=no thread: {e}", proxy.config.name);
        if let Session { stage: Stage::New(tcp), .. } = *session {
            refuse(world, proxy, tcp, "Too busy, try again later");
        }
    }
}

/// Gives something to a new thread, and gives it back where there can be none: what a closure takes is gone with it.
fn spawn<T: Send + 'static>(
    name: &str,
    stack: usize,
    what: T,
    body: impl FnOnce(T) + Send + 'static,
) -> Result<(), (io::Error, T)> {
    let slot = Arc::new(Mutex::new(Some(what)));
    let theirs = Arc::clone(&slot);
    let body = move || {
        if let Some(what) = take(&theirs) {
            body(what);
        }
    };
    match thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn(body) {
        Ok(_) => Ok(()),
        Err(e) => take(&slot).map_or(Ok(()), |what| Err((e, what))),
    }
}

/// How many sessions there may be now.
fn room(proxy: &Proxy) -> Room {
    Room {
        max_sessions: proxy.shared.max_sessions,
        max_sessions_per_client: proxy.shared.max_sessions_per_client,
        files_for: privileges::sessions_with_files(),
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Tells a client to come back, in a short-lived thread. Where there are too many of these, or no thread, in passing.
fn refuse(world: &Arc<World>, proxy: &Arc<Proxy>, tcp: TcpStream, text: &'static str) {
    struct Place;
    impl Drop for Place {
        fn drop(&mut self) {
            REFUSERS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let count = REFUSERS.fetch_add(1, Ordering::Relaxed);
    let place = Place;
    if count >= REFUSERS_MAX {
        return refuse_in_passing(proxy, &tcp, text);
    }
    let body = {
        let (world, proxy) = (Arc::clone(world), Arc::clone(proxy));
        move |tcp| {
            let _place = place;
            let until = Until { deadline: Instant::now() + REFUSAL, stop: world.stop.as_fd() };
            let Ok(mut stream) = Stream::new(tcp) else { return };
            if let (TlsMode::Implicit, Some(acceptor)) = (proxy.config.listen_tls, &proxy.acceptor) {
                match acceptor.accept(stream, until) {
                    Ok(tls) => stream = tls,
                    Err(_) => return,
                }
            }
            stream.last_words(&proxy.speaker.refusal(text), until);
        }
    };
    if let Err((_, tcp)) = spawn("refusal", STACK, tcp, body) {
        refuse_in_passing(proxy, &tcp, text);
    }
}

/// Without a wait: a new connection has room for a line. (It may be lost where the client has already said something; and before a TLS
/// handshake there are no words.)
fn refuse_in_passing(proxy: &Proxy, tcp: &TcpStream, text: &str) {
    if proxy.config.listen_tls != TlsMode::Implicit && tcp.set_nonblocking(true).is_ok() {
        let mut tcp = tcp;
        // The client hears nothing then, and is closed all the same.
        let _ = tcp.write_all(&proxy.speaker.refusal(text));
    }
}

/// A session, from its first thread to its last.
struct Session {
    world: Arc<World>,
    proxy: Arc<Proxy>,
    label: Label,
    begun: Instant,
    keeper: Keeper,
    stage: Stage,
    /// Given back after all else: who waits for the last session may end the program.
    _ticket: Ticket,
}

enum Stage {
    /// Nothing was said yet.
    New(TcpStream),
    /// Both sides are there.
    Joined(Box<Joined>),
    Over,
}

struct Joined {
    connections: Connections,
    protocol: Box<dyn Protocol>,
    reached: Instant,
}

/// Runs a session to its end, in this thread and in those that it goes on in.
fn carry_on(mut session: Box<Session>) {
    loop {
        match session.guarded(Session::go_on) {
            Some(end) => return session.finish(&end),
            None => match spawn("session, quiet", SMALL_STACK, session, sleep) {
                Ok(()) => return,
                // It costs more memory here, and that is all.
                Err((_, back)) => session = back,
            },
        }
        if let Some(end) = session.guarded(Session::rest) {
            return session.finish(&end);
        }
    }
}

/// Sleeps until the session has something to do, in another thread.
fn sleep(mut session: Box<Session>) {
    if let Some(end) = session.guarded(Session::rest) {
        return session.finish(&end);
    }
    if let Err((_, session)) = WORKERS.run(session, carry_on) {
        carry_on(session);
    }
}

impl Session {
    fn new(world: Arc<World>, proxy: Arc<Proxy>, tcp: TcpStream, label: Label, ticket: Ticket) -> Box<Session> {
        let keeper = Keeper::new(label.clone(), proxy.policy(), proxy.archive.clone(), Arc::clone(&proxy.counters));
        Box::new(Session {
            world,
            proxy,
            label,
            begun: Instant::now(),
            keeper,
            stage: Stage::New(tcp),
            _ticket: ticket,
        })
    }

    /// None: it is quiet.
    fn go_on(&mut self) -> Option<End> {
        tls::forget_errors();
        if let Stage::New(_) = self.stage {
            let Stage::New(tcp) = mem::replace(&mut self.stage, Stage::Over) else { return None };
            self.proxy.counters.sessions.add(1);
            log::debug!("{} opened client={}", self.label, self.label.client);
            match self.join(tcp) {
                Ok(joined) => self.stage = Stage::Joined(Box::new(joined)),
                Err(end) => return Some(end),
            }
        }
        let Session { world, proxy, keeper, begun, stage: Stage::Joined(joined), .. } = self else { return None };
        relay(world, proxy, keeper, *begun, joined)
    }

    /// Does something of it; a panic ends the session.
    fn guarded(&mut self, action: fn(&mut Session) -> Option<End>) -> Option<End> {
        catch_unwind(AssertUnwindSafe(|| action(self))).unwrap_or_else(|_| {
            // The line of the panic itself knows the thread only, which many sessions use.
            log::error!("{} panic: a bug of MailStore, see the line above", self.label);
            Some(End::Fault("panic: a bug of MailStore, see the line above".to_owned()))
        })
    }

    /// Until there is something to do.
    fn rest(&mut self) -> Option<End> {
        if let Session { world, proxy, keeper, begun, stage: Stage::Joined(joined), .. } = self {
            let Joined { connections, protocol, .. } = &mut **joined;
            relay::rest(connections, &mut **protocol, keeper, &settings(world, proxy, *begun));
        }
        None
    }

    /// The client's handshake, and the way to the server.
    fn join(&mut self, tcp: TcpStream) -> Result<Joined, End> {
        let Session { world, proxy, keeper, .. } = self;
        let until = Until { deadline: self.begun + proxy.shared.login_timeout, stop: world.stop.as_fd() };
        let mut client = Stream::new(tcp).map_err(|e| End::Fault(format!("the client's connection broke: {e}")))?;
        if let (TlsMode::Implicit, Some(acceptor)) = (proxy.config.listen_tls, &proxy.acceptor) {
            client = acceptor
                .accept(client, until.at_most(STEP))
                .map_err(|why| End::Fault(format!("TLS handshake with the client failed: {why}")))?;
        }
        let (server, local) = match reach(proxy, until.at_most(STEP)) {
            Ok(reached) => reached,
            Err(why) => {
                keeper.no_server(&format!("server {} cannot be reached: {why}", proxy.config.upstream()));
                let words = proxy.speaker.refusal("The mail server cannot be reached, try again later");
                keeper.count_words(words.len());
                client.last_words(&words, Until { deadline: Instant::now() + REFUSAL, ..until });
                // The line above has the reason, which can be long.
                return Err(End::Fault("the server cannot be reached".to_owned()));
            }
        };
        Ok(Joined {
            connections: Connections::new(client, server, proxy.shared.idle_timeout),
            protocol: proxy.speaker.protocol(local),
            reached: Instant::now(),
        })
    }

    /// Brings to its end what is in the archive's hands, and says how it went.
    fn finish(mut self: Box<Self>, end: &End) {
        // The connections are closed already, or by this.
        let stage = mem::replace(&mut self.stage, Stage::Over);
        let Session { proxy, label, keeper, begun, .. } = &mut *self;
        if catch_unwind(AssertUnwindSafe(|| drop(stage))).is_err() {
            log::error!("{label} panic: a bug of MailStore, see the line above");
        }
        if catch_unwind(AssertUnwindSafe(|| keeper.close())).is_err() {
            log::error!(
                "{label} drafts could not be brought to their end: a bug of MailStore; what was prepared is kept at the next start"
            );
        }
        let (tally, (received, sent)) = (keeper.tally(), keeper.octets());
        proxy.counters.received.add(received);
        proxy.counters.sent.add(sent);
        let user = keeper.user().map_or_else(|| "-".to_owned(), ToString::to_string);
        let reason = match end {
            End::Orderly(reason) => *reason,
            End::Fault(reason) => reason.as_str(),
        };
        log::info!(
            "{label} closed client={} user={user} time={}s received={received} sent={sent} kept={} duplicates={} not_kept={} fetched={} reason={reason}",
            label.client,
            begun.elapsed().as_secs(),
            tally.kept,
            tally.duplicates,
            tally.not_kept,
            tally.fetched,
        );
    }
}

fn settings<'a>(world: &'a World, proxy: &'a Proxy, begun: Instant) -> relay::Settings<'a> {
    relay::Settings {
        login_deadline: begun + proxy.shared.login_timeout,
        idle_timeout: proxy.shared.idle_timeout,
        client_closed_wait: relay::CLIENT_CLOSED_WAIT,
        client_gone_wait: relay::CLIENT_GONE_WAIT,
        finish_wait: relay::FINISH_WAIT,
        acceptor: proxy.acceptor.as_ref(),
        connector: proxy.connector.as_ref(),
        stop: world.stop.as_fd(),
        rest_after: REST_AFTER,
    }
}

/// None: it is quiet.
fn relay(world: &World, proxy: &Proxy, keeper: &mut Keeper, begun: Instant, joined: &mut Joined) -> Option<End> {
    let settings = settings(world, proxy, begun);
    let protocol = &mut *joined.protocol;
    let report = relay::run(&mut joined.connections, protocol, keeper, &settings)?;
    log::debug!("{} slept {} times", keeper.label(), report.polls);
    if !protocol.greeted()
        && let Some(why) = unfit(&report.end, joined.reached.elapsed())
    {
        keeper.no_server(&format!(
            "server {} cannot be used: {why}; {}",
            proxy.config.upstream(),
            look_at(proxy, &why)
        ));
    }
    Some(report.end)
}

/// How long a client may have waited for a greeting before it is the server that is to blame where he leaves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a server that has not greeted is none that can be used; none where it is the client, or we, who left.
fn unfit(end: &End, waited: Duration) -> Option<String> {
    match end {
        End::Fault(why) if why.ends_with("the server did not answer in time") => Some(why.clone()),
        End::Fault(why) => {
            let others = [
                "the client",
                "client",
                "the connection to the client",
                "TLS handshake with the client",
                "the program",
            ];
            (!others.iter().any(|other| why.starts_with(other))).then(|| why.clone())
        }
        End::Orderly(_) if waited >= PATIENCE => {
            Some(format!("it had not greeted when the client left after {} s", waited.as_secs()))
        }
        End::Orderly(_) => None,
    }
}

/// What the administrator should look at.
fn look_at(proxy: &Proxy, why: &str) -> String {
    let (section, tls) = (&proxy.config.name, proxy.config.upstream_tls);
    let greets = |how: &str| why.contains(&format!("with \"{how}")) || why.contains(&format!("says \"{how}"));
    let guess = if greets("220") {
        "so SMTP servers greet. "
    } else if greets("+OK") {
        "so POP3 servers greet. "
    } else if greets("* ") {
        "so IMAP servers greet. "
    } else if tls != TlsMode::Implicit && !why.contains('"') {
        "at a port where TLS is spoken from the start nothing comes without it (upstream_tls = implicit). "
    } else {
        ""
    };
    let look = if guess.is_empty() { "look" } else { "Look" };
    format!("{guess}{look} at upstream and at upstream_tls, which is {tls}, of [{section}]")
}

/// Connects to the server, with TLS where it is implicit. Also gives our address on that connection.
fn reach(proxy: &Proxy, until: Until<'_>) -> Result<(Stream, SocketAddr), String> {
    let tcp = dial::dial(&proxy.config.upstream_host, proxy.config.upstream_port, until)?;
    let local = tcp.local_addr().map_err(|e| e.to_string())?;
    let stream = Stream::new(tcp).map_err(|e| e.to_string())?;
    match (proxy.config.upstream_tls, &proxy.connector) {
        (TlsMode::Implicit, Some(connector)) => {
            let stream = connector.connect(stream, until).map_err(|why| format!("TLS handshake failed: {why}"))?;
            Ok((stream, local))
        }
        _ => Ok((stream, local)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_to_blame_where_a_client_has_waited_long_for_its_greeting() {
        let left = End::Orderly("the client left");
        assert_eq!(unfit(&left, PATIENCE - Duration::from_millis(1)), None);
        let why = unfit(&left, PATIENCE + Duration::from_millis(999));
        assert_eq!(why.as_deref(), Some("it had not greeted when the client left after 5 s"));
    }
}
