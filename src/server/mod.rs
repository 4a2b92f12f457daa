//! The program: proxies, their listeners and their sessions, from start over reloads to the end.
//!
//! [`Server::start`] does everything that can fail before it says `ready`. [`Server::reload`] takes a new configuration wholly or
//! not at all, and leaves open sessions alone. [`Server::stop`] gives sessions their time, then tells the rest to go.

pub mod check;
mod counters;
mod keeper;
mod limits;
mod listener;
mod privileges;
mod proxy;
mod session;
mod tell;
mod tend;
mod workers;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use self::privileges::confine;

use self::counters::Registry;
use self::limits::Limits;
use self::listener::{Listener, bind};
use self::proxy::Proxy;
use self::tell::{clear_up, escape_path, general, shared_fault, spool_fault, tell_kept, unbound};
use self::tend::Tending;
use crate::archive::{self, Archive, Template};
use crate::config::{self, Config, Fault};
use crate::learn::{self, Learner, Teacher};
use crate::logging::{self, READY_TARGET};
use crate::net::wait::stop_pipe;

/// How long sessions have for their last words once `shutdown_grace` is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What all sessions share.
pub(crate) struct World {
    limits: Limits,
    counters: Registry,
    begun: Instant,
    /// Its other end is closed when every session has to end at once.
    stop: OwnedFd,
    next_id: AtomicU32,
}

impl World {
    fn new(stop: OwnedFd) -> World {
        // So that the ids of two runs in one log are not the same.
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let first = (seconds as u32).wrapping_mul(0x9e37).wrapping_add(std::process::id()) & 0xffff;
        World {
            limits: Limits::default(),
            counters: Registry::default(),
            begun: Instant::now(),
            stop,
            next_id: AtomicU32::new(first),
        }
    }

    fn next_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// The running program.
pub struct Server {
    config: Config,
    archive: Archive,
    /// Spools that were cleared up by this process: what lies in their `tmp` from then on may be a session's.
    recovered: BTreeSet<PathBuf>,
    world: Arc<World>,
    listening: Vec<Listening>,
    /// Of every archive that a session may still use; of those that differ in `sync` alone the last.
    tended: Vec<Tending>,
    learner: Option<Learner>,
    stop_all: OwnedFd,
}

struct Listening {
    key: Key,
    listener: Listener,
}

/// What makes an address of one configuration the same as one of another. Port 0 is a new port each time: such a socket stays with
/// its proxy and its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    address: SocketAddr,
    place: Option<(String, usize)>,
}

impl Server {
    /// Loads, binds, gives up root, clears up the spool, and begins to accept clients.
    ///
    /// # Errors
    /// All faults that were found.
    pub fn start(config: Config) -> Result<Server, Vec<Fault>> {
        let machine = |e: io::Error| vec![general(&config, format!("the machine has no room: {e}"))];
        let (stop_read, stop_all) = stop_pipe().map_err(machine)?;
        let world = Arc::new(World::new(stop_read));
        for doubt in &config.warnings {
            log::warn!("{doubt}");
        }
        let Prepared { archive, proxies, sockets, mut learner } =
            Prepared::new(&config, &world.counters, Root::GivenUp)?;
        tell_doubts(&proxies);
        log::info!(
            "MailStore {} configuration={} user={} spool={}",
            env!("CARGO_PKG_VERSION"),
            escape_path(&config.file),
            logging::escape(config::user_now().as_bytes()),
            escape_path(&config.shared.spool)
        );
        clear_up(&archive, &config);
        if let Some(learner) = &mut learner {
            learner.start().map_err(machine)?;
        }
        let mut listening = Vec::new();
        for (key, index, socket) in sockets {
            let listener = Listener::start(&world, socket, Arc::clone(&proxies[index])).map_err(machine)?;
            listening.push(Listening { key, listener });
        }
        let tended = vec![Tending::start(archive.clone()).map_err(machine)?];
        let recovered = BTreeSet::from([config.shared.spool.clone()]);
        let server = Server { config, archive, recovered, world, listening, tended, learner, stop_all };
        server.tell_listeners();
        log::info!(target: READY_TARGET, "ready");
        Ok(server)
    }

    /// Takes the file's new content and the certificates', if nothing is wrong with them; reports all faults and goes on with the old ones
    /// otherwise.
    pub fn reload(&mut self) {
        let result = config::load(&self.config.file).and_then(|config| {
            config.warnings.iter().for_each(|doubt| log::warn!("{doubt}"));
            self.apply(config)
        });
        match result {
            Ok(()) => {
                self.tell_listeners();
                log::info!("reloaded {}", self.config.file.display());
            }
            Err(faults) => {
                for fault in faults {
                    log::error!("{fault}");
                }
                log::error!("{} is not applied, the old configuration stays in force", self.config.file.display());
            }
        }
    }

    fn apply(&mut self, config: Config) -> Result<(), Vec<Fault>> {
        let same_sync = self.config.shared.sync == config.shared.sync;
        let archive = match (same_archive(&self.config, &config), same_sync) {
            (true, true) => self.archive.clone(),
            (true, false) => self.archive.with_sync(config.shared.sync),
            (false, _) => new_archive(&config)?,
        };
        let mut faults = Vec::new();
        let mut learner = new_learner(&config);
        let same_learner = learning(&self.config) == learning(&config);
        let teacher = if same_learner { &self.learner } else { &learner }.as_ref().map(Learner::teacher);
        let proxies = load_proxies(&config, &archive, teacher.as_ref(), &self.world.counters, &mut faults);
        let mut started = Vec::new();
        let mut kept = vec![false; self.listening.len()];
        let mut changes = Vec::new();
        for (key, index) in keys(&config) {
            if let Some(old) = self.listening.iter().position(|one| one.key == key) {
                kept[old] = true;
                changes.push((old, index));
                continue;
            }
            match (bind(key.address), proxies.get(index)) {
                (Ok(socket), Some(_)) => started.push((key, index, socket)),
                (Err(e), _) => faults.push(unbound(&config, &config.proxies[index].name, key.address, &e)),
                (Ok(_), None) => {}
            }
        }
        match archive.check() {
            Ok(()) => {}
            // It is in use, and may be well again at any moment.
            Err(e) if self.recovered.contains(&config.shared.spool) => {
                log::warn!("the spool cannot be used at present: {e}");
            }
            Err(e) => faults.push(spool_fault(&config, &e)),
        }
        match check_learning(&config) {
            Ok(()) => {}
            Err(why) if same_learner => log::warn!("learn_logins: {why}"),
            Err(why) => faults.push(shared_fault(&config, "learn_logins", why)),
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut fresh = Vec::new();
        for (key, index, socket) in started {
            match Listener::start(&self.world, socket, Arc::clone(&proxies[index])) {
                Ok(listener) => fresh.push(Listening { key, listener }),
                Err(e) => return Err(vec![general(&config, format!("the machine has no room: {e}"))]),
            }
        }
        if let Some(learner) = &mut learner
            && !same_learner
        {
            learner.start().map_err(|e| vec![general(&config, format!("the machine has no room: {e}"))])?;
        }
        let mut tending = None;
        if !same_archive(&self.config, &config) || !same_sync {
            match Tending::start(archive.clone()) {
                Ok(started) => tending = Some(started),
                Err(e) => return Err(vec![general(&config, format!("the machine has no room: {e}"))]),
            }
        }
        // Nothing can fail from here on.
        if tending.is_some() {
            self.tended.retain(|one| one.is_needed() && !one.is_about_the_same_as(&archive));
            self.tended.extend(tending);
        }
        tell_doubts(&proxies);
        if !same_learner {
            // The one before does what waits, and hears no more.
            self.learner = learner;
        }
        if self.recovered.insert(config.shared.spool.clone()) {
            clear_up(&archive, &config);
        }
        for (old, index) in changes {
            self.listening[old].listener.change(Arc::clone(&proxies[index]));
        }
        let mut kept = kept.into_iter();
        self.listening.retain(|_| kept.next().unwrap_or(false));
        self.listening.extend(fresh);
        if (&config.shared.user, &config.shared.group) != (&self.config.shared.user, &self.config.shared.group) {
            log::warn!("user and group have changed: that needs a restart");
        }
        logging::set_level(config.shared.log);
        (self.config, self.archive) = (config, archive);
        Ok(())
    }

    /// Logs the counters.
    pub fn tell_counters(&self) {
        for line in self.world.counters.lines(self.world.limits.open()) {
            log::info!("{line}");
        }
    }

    /// Stops accepting, waits for the sessions within `shutdown_grace`, then sends the rest away. All threads have done their
    /// work when this returns, but for a few seconds that a peer may take at most.
    pub fn stop(self) {
        let Server { config, world, listening, tended, learner, stop_all, .. } = self;
        drop(listening);
        let grace = config.shared.shutdown_grace;
        let open = || logging::counted(world.limits.open(), "session");
        log::info!("stopping, {} open, waiting for {} s at most", open(), grace.as_secs());
        if !world.limits.wait_until_none(grace) {
            log::warn!("shutdown_grace is over, ending {}", open());
            drop(stop_all);
            if !world.limits.wait_until_none(LAST_WORDS) {
                log::error!("{} did not end in time; what was prepared is kept at the next start", open());
            }
        }
        drop(tended);
        if let Some(learner) = learner {
            learner.finish(LAST_WORDS);
        }
        for line in world.counters.lines(world.limits.open()) {
            log::info!("{line}");
        }
        log::info!("stopped");
    }

    /// One line a proxy: `pop3:main listening on 127.0.0.1:1110 -> pop.example.com:995`.
    fn tell_listeners(&self) {
        let mut listening: Vec<_> = self.listening.iter().map(Some).collect();
        let mut lines: Vec<(String, Vec<String>)> =
            self.config.proxies.iter().map(|proxy| (proxy.name.clone(), Vec::new())).collect();
        for (key, index) in keys(&self.config) {
            if let Some(one) =
                listening.iter_mut().find(|one| one.is_some_and(|one| one.key == key)).and_then(Option::take)
            {
                lines[index].1.push(one.listener.local.to_string());
            }
        }
        for ((name, addresses), proxy) in lines.iter().zip(&self.config.proxies) {
            log::info!(target: READY_TARGET, "{name} listening on {} -> {}", addresses.join(", "), proxy.upstream());
        }
    }
}

/// Everything that can be found wrong before the first client.
struct Prepared {
    archive: Archive,
    proxies: Vec<Arc<Proxy>>,
    /// With the index of their proxy.
    sockets: Vec<(Key, usize, TcpListener)>,
    /// Not started.
    learner: Option<Learner>,
}

/// What becomes of root, where `user` or `group` is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    GivenUp,
    /// Only while the spool is looked at; then all is as it was.
    SetAside,
}

impl Prepared {
    /// In this order: certificates are read and ports are bound as root, the spool is looked at as the user it is for.
    fn new(config: &Config, counters: &Registry, root: Root) -> Result<Prepared, Vec<Fault>> {
        let archive = new_archive(config)?;
        let mut faults = Vec::new();
        let learner = new_learner(config);
        let teacher = learner.as_ref().map(Learner::teacher);
        let proxies = load_proxies(config, &archive, teacher.as_ref(), counters, &mut faults);
        let mut sockets = Vec::new();
        for (key, index) in keys(config) {
            match bind(key.address) {
                Ok(socket) => sockets.push((key, index, socket)),
                Err(e) => faults.push(unbound(config, &config.proxies[index].name, key.address, &e)),
            }
        }
        privileges::prepare(&config.shared);
        let check = || {
            let spool = archive.check().map_err(|e| spool_fault(config, &e));
            let learning = check_learning(config).map_err(|why| shared_fault(config, "learn_logins", why));
            [spool.err(), learning.err()].into_iter().flatten().collect::<Vec<_>>()
        };
        let checked = match root {
            Root::GivenUp => privileges::drop_root(&config.shared).map(|()| check()),
            Root::SetAside => privileges::try_as_user(&config.shared, check),
        };
        match checked {
            Ok(more) => faults.extend(more),
            Err((key, why)) => faults.push(shared_fault(config, key, why)),
        }
        if faults.is_empty() { Ok(Prepared { archive, proxies, sockets, learner }) } else { Err(faults) }
    }
}

/// Every address to listen on, with the index of its proxy.
fn keys(config: &Config) -> impl Iterator<Item = (Key, usize)> {
    config.proxies.iter().enumerate().flat_map(|(index, proxy)| {
        proxy.listen.iter().enumerate().map(move |(n, &address)| {
            let place = (address.port() == 0).then(|| (proxy.name.clone(), n));
            (Key { address, place }, index)
        })
    })
}

/// In the order of the configuration; shorter where there were faults.
fn load_proxies(
    config: &Config,
    archive: &Archive,
    teacher: Option<&Teacher>,
    counters: &Registry,
    faults: &mut Vec<Fault>,
) -> Vec<Arc<Proxy>> {
    let mut proxies = Vec::new();
    for proxy in &config.proxies {
        match Proxy::load(proxy, config, archive, teacher, counters.of(&proxy.name)) {
            Ok(proxy) => proxies.push(Arc::new(proxy)),
            Err(more) => faults.extend(more),
        }
    }
    proxies
}

fn tell_doubts(proxies: &[Arc<Proxy>]) {
    for doubt in proxies.iter().flat_map(|proxy| &proxy.doubts) {
        log::warn!("{doubt}");
    }
}

fn new_archive(config: &Config) -> Result<Archive, Vec<Fault>> {
    let maildir = Template::parse(&config.shared.maildir).map_err(|why| vec![shared_fault(config, "maildir", why)])?;
    Ok(Archive::new(archive::Settings { spool: config.shared.spool.clone(), maildir, sync: config.shared.sync }))
}

fn same_archive(old: &Config, new: &Config) -> bool {
    let of = |config: &Config| (config.shared.spool.clone(), config.shared.maildir.clone());
    of(old) == of(new)
}

/// What tells one learner from another.
fn learning(config: &Config) -> (Option<&Path>, bool) {
    (config.shared.learn_logins.as_deref(), config.shared.sync)
}

fn new_learner(config: &Config) -> Option<Learner> {
    config.shared.learn_logins.clone().map(|file| Learner::new(file, config.shared.sync))
}

fn check_learning(config: &Config) -> Result<(), String> {
    let file = config.shared.learn_logins.as_ref();
    file.map_or(Ok(()), |file| learn::check(file, &config.shared.spool))
}
