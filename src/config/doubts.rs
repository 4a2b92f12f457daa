//! What can be, but was hardly meant so: keys without effect, and servers that are ourselves.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use super::fault::{Fault, Faults};
use super::read::Section;
use super::{Config, Keep, Proxy, TlsMode};

/// The warnings, in the order of the file. What can only end in a circle goes to `faults`.
pub(super) fn find(config: &Config, sections: &[Section], faults: &mut Faults) -> Vec<Fault> {
    let mut doubts = Faults::new(&config.file);
    let lines = Lines(sections);
    for proxy in &config.proxies {
        for (key, why) in without_effect(proxy) {
            if let Some(line) = lines.given(&proxy.name, key) {
                doubts.add(Some(&proxy.name), Some(key), Some(line), why.to_owned());
            }
        }
    }
    circles(config, &lines, &mut doubts, faults);
    doubts.into_list()
}

/// Keys that say something about what is switched off.
fn without_effect(proxy: &Proxy) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if proxy.listen_tls == TlsMode::None {
        const WHY: &str = "has no effect while listen_tls is none: clients get no TLS; write listen_tls = implicit or starttls, or leave this line out";
        found.extend([("certificate", WHY), ("private_key", WHY)]);
    }
    if proxy.upstream_tls == TlsMode::None {
        const WHY: &str = "has no effect while upstream_tls is none: the server is not asked for TLS; write upstream_tls = implicit or starttls, or leave this line out";
        found.push(("upstream_ca", WHY));
    }
    if proxy.keep == Keep::Sender {
        const WHY: &str = "has no effect while keep is sender; write keep = recipients or both, or leave this line out";
        found.push(("local_domains", WHY));
    }
    found
}

/// Servers that are listeners of this program.
fn circles(config: &Config, lines: &Lines<'_>, doubts: &mut Faults, faults: &mut Faults) {
    let mut to: HashMap<&str, (&Proxy, bool)> = HashMap::new();
    for proxy in &config.proxies {
        if let Some((other, certain)) = config.proxies.iter().find_map(|other| Some((other, leads_to(proxy, other)?))) {
            to.insert(&proxy.name, (other, certain));
        }
    }
    for proxy in &config.proxies {
        let Some((other, _)) = to.get(proxy.name.as_str()) else { continue };
        let (mut at, mut sure, mut round) = (proxy.name.as_str(), true, false);
        // A way that has not come back after all of them never does.
        for _ in 0..config.proxies.len() {
            let Some((next, certain)) = to.get(at) else { break };
            (at, sure) = (&next.name, sure && *certain);
            round |= at == proxy.name;
            if round {
                break;
            }
        }
        let listens =
            if other.name == proxy.name { "this proxy itself".to_owned() } else { format!("[{}]", other.name) };
        let line = lines.given(&proxy.name, "upstream");
        let add = |list: &mut Faults, why| list.add(Some(&proxy.name), Some("upstream"), line, why);
        match (round, sure) {
            (true, true) => add(
                faults,
                format!(
                    "{} is where {listens} listens: it would connect to itself for ever; name the real server",
                    proxy.upstream()
                ),
            ),
            (true, false) => add(
                doubts,
                format!(
                    "{} seems to be where {listens} listens: it would connect to itself for ever; name the real server",
                    proxy.upstream()
                ),
            ),
            (false, _) => add(
                doubts,
                format!(
                    "{} is where {listens} listens: what passes is kept by both; name the real server",
                    proxy.upstream()
                ),
            ),
        }
    }
}

/// Whether the one's server is where the other listens: certain where it stands there so.
fn leads_to(proxy: &Proxy, other: &Proxy) -> Option<bool> {
    let mut listening = other.listen.iter().filter(|at| at.port() == proxy.upstream_port && at.port() != 0).peekable();
    listening.peek()?;
    let literal = proxy.upstream_host.parse::<IpAddr>().ok();
    let ours = own_addresses(&proxy.upstream_host);
    let mut found = None;
    for at in listening {
        let certain = literal == Some(at.ip());
        if certain || ours.iter().any(|ip| covers(at, *ip)) {
            found = Some(certain || found == Some(true));
        }
    }
    found
}

/// Whether who connects to this address of ours gets there.
fn covers(listening: &SocketAddr, ip: IpAddr) -> bool {
    listening.ip() == ip || (listening.ip().is_unspecified() && listening.is_ipv4() == ip.is_ipv4())
}

/// The addresses of this machine that a host's name stands for; none where it is another machine's, as far as can be told without asking a name server for
/// any other name than our own.
fn own_addresses(host: &str) -> Vec<IpAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip {
            IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
            IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv6Addr::LOCALHOST.into()],
            // Only an address of its own can be bound.
            ip if ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok() => vec![ip],
            _ => Vec::new(),
        };
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    if own.eq_ignore_ascii_case(host) {
        let found = (host, 0).to_socket_addrs().map(|found| found.map(|at| at.ip()).collect::<Vec<_>>());
        return found.unwrap_or_default().into_iter().filter(|ip| UdpSocket::bind((*ip, 0)).is_ok()).collect();
    }
    Vec::new()
}

/// Where in the file a key stands.
struct Lines<'a>(&'a [Section]);

impl Lines<'_> {
    fn given(&self, section: &str, key: &str) -> Option<usize> {
        let section = self.0.iter().find(|one| one.name.as_deref() == Some(section))?;
        let entry = section.entries.iter().find(|entry| entry.key == key)?;
        entry.value.as_deref().is_some_and(|value| !value.is_empty()).then_some(entry.line)
    }
}
