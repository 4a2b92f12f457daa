//! One session's life: a place, handshakes, the server, the relay, one closing log line.
//!
//! Runs in a thread of its own. Whatever happens in it, a panic included, ends this session and no other. A client that cannot
//! be served is told so in its protocol's words.

use std::io::Write;
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
use crate::config::TlsMode;
use crate::net::stream::Stream;
use crate::net::wait::Until;
use crate::net::{dial, relay};
use crate::protocol::End;

/// A session needs little: buffers are on the heap, parsers do not recurse. (Debug builds need more than release builds.)
const STACK: usize = 512 * 1024;
/// One handshake, or the way to the server.
const STEP: Duration = Duration::from_secs(30);
/// How long a client is talked to that is not served.
const REFUSAL: Duration = Duration::from_secs(5);
/// How many such at once; what is above that is told in passing.
const REFUSERS_MAX: usize = 16;

static REFUSERS: AtomicUsize = AtomicUsize::new(0);

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
    // A thread that cannot be made takes what it was given with it: the socket has to be got back.
    let socket = Arc::new(Mutex::new(Some(tcp)));
    let body = {
        let (world, proxy, socket) = (Arc::clone(world), Arc::clone(proxy), Arc::clone(&socket));
        move || {
            if let Some(tcp) = take(&socket) {
                run(&world, &proxy, tcp, client, &label, ticket);
            }
        }
    };
    if let Err(e) = thread::Builder::new().name(format!("session {client}")).stack_size(STACK).spawn(body) {
        proxy.counters.refused.add(1);
        log::error!("{} refused client={client} reason=no thread: {e}", proxy.config.name);
        if let Some(tcp) = take(&socket) {
            refuse(world, proxy, tcp, "Too busy, try again later");
        }
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

fn take(socket: &Mutex<Option<TcpStream>>) -> Option<TcpStream> {
    socket.lock().unwrap_or_else(PoisonError::into_inner).take()
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
    let socket = Arc::new(Mutex::new(Some(tcp)));
    let body = {
        let (world, proxy, socket) = (Arc::clone(world), Arc::clone(proxy), Arc::clone(&socket));
        move || {
            let _place = place;
            let until = Until { deadline: Instant::now() + REFUSAL, stop: world.stop.as_fd() };
            let Some(Ok(mut stream)) = take(&socket).map(Stream::new) else { return };
            if let (TlsMode::Implicit, Some(acceptor)) = (proxy.config.listen_tls, &proxy.acceptor) {
                match acceptor.accept(stream, until) {
                    Ok(tls) => stream = tls,
                    Err(_) => return,
                }
            }
            stream.last_words(&proxy.speaker.refusal(text), until);
        }
    };
    if thread::Builder::new().name("refusal".to_owned()).stack_size(STACK).spawn(body).is_err()
        && let Some(tcp) = take(&socket)
    {
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

fn run(world: &World, proxy: &Proxy, tcp: TcpStream, client: SocketAddr, label: &Label, ticket: Ticket) {
    let begun = Instant::now();
    proxy.counters.sessions.add(1);
    log::debug!("{label} opened client={client}");
    let mut keeper = Keeper::new(label.clone(), proxy.policy(), proxy.archive.clone(), Arc::clone(&proxy.counters));
    let end = catch_unwind(AssertUnwindSafe(|| serve(world, proxy, tcp, label, &mut keeper)))
        .unwrap_or_else(|_| End::Fault("panic: a bug of MailStore, see the line above".to_owned()));
    if catch_unwind(AssertUnwindSafe(|| keeper.close())).is_err() {
        log::error!(
            "{label} drafts could not be brought to their end: a bug of MailStore; what was prepared is kept at the next start"
        );
    }
    let (tally, (received, sent)) = (keeper.tally(), keeper.octets());
    proxy.counters.received.add(received);
    proxy.counters.sent.add(sent);
    let user = keeper.user().map_or_else(|| "-".to_owned(), ToString::to_string);
    let reason = match &end {
        End::Orderly(reason) => *reason,
        End::Fault(reason) => reason.as_str(),
    };
    log::info!(
        "{label} closed client={client} user={user} time={}s received={received} sent={sent} kept={} duplicates={} not_kept={} fetched={} reason={reason}",
        begun.elapsed().as_secs(),
        tally.kept,
        tally.duplicates,
        tally.not_kept,
        tally.fetched,
    );
    // After all else: who waits for the last session may end the program.
    drop(ticket);
}

fn serve(world: &World, proxy: &Proxy, tcp: TcpStream, label: &Label, keeper: &mut Keeper) -> End {
    let login_deadline = Instant::now() + proxy.shared.login_timeout;
    let until = Until { deadline: login_deadline, stop: world.stop.as_fd() };
    let mut client = match Stream::new(tcp) {
        Ok(stream) => stream,
        Err(e) => return End::Fault(format!("the client's connection broke: {e}")),
    };
    if let (TlsMode::Implicit, Some(acceptor)) = (proxy.config.listen_tls, &proxy.acceptor) {
        match acceptor.accept(client, until.at_most(STEP)) {
            Ok(tls) => client = tls,
            Err(why) => return End::Fault(format!("TLS handshake with the client failed: {why}")),
        }
    }
    let (server, local) = match reach(proxy, until.at_most(STEP)) {
        Ok(reached) => reached,
        Err(why) => {
            keeper.no_server(&format!("server {} cannot be reached: {why}", proxy.config.upstream()));
            let words = proxy.speaker.refusal("The mail server cannot be reached, try again later");
            keeper.count_words(words.len());
            client.last_words(&words, Until { deadline: Instant::now() + REFUSAL, ..until });
            // The line above has the reason, which can be long.
            return End::Fault("the server cannot be reached".to_owned());
        }
    };
    let reached = Instant::now();
    let mut protocol = proxy.speaker.protocol(local);
    let settings = relay::Settings {
        login_deadline,
        idle_timeout: proxy.shared.idle_timeout,
        client_closed_wait: relay::CLIENT_CLOSED_WAIT,
        client_gone_wait: relay::CLIENT_GONE_WAIT,
        finish_wait: relay::FINISH_WAIT,
        acceptor: proxy.acceptor.as_ref(),
        connector: proxy.connector.as_ref(),
        stop: world.stop.as_fd(),
    };
    let report = relay::run(client, server, &mut *protocol, keeper, &settings);
    log::debug!("{label} slept {} times", report.polls);
    if !protocol.greeted()
        && let Some(why) = unfit(&report.end, reached.elapsed())
    {
        keeper.no_server(&format!(
            "server {} cannot be used: {why}; {}",
            proxy.config.upstream(),
            look_at(proxy, &why)
        ));
    }
    report.end
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
    } else if tls == TlsMode::None && !why.contains('"') {
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
