//! A proxy as its sessions see it: one section of the configuration, ready to be used.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use super::counters::Counters;
use super::keeper::Policy;
use crate::archive::{Archive, Folder};
use crate::config::{self, Fault, Kind, TlsMode};
use crate::learn::Teacher;
use crate::net::tls::{self, Acceptor, Connector};
use crate::protocol::{Protocol, imap, pop3, smtp};

/// A proxy under one configuration. A session keeps the one that it began with.
pub(super) struct Proxy {
    pub(super) config: config::Proxy,
    pub(super) shared: Arc<config::Shared>,
    pub(super) archive: Archive,
    pub(super) acceptor: Option<Acceptor>,
    pub(super) connector: Option<Connector>,
    pub(super) counters: Arc<Counters>,
    pub(super) speaker: Box<dyn Speak>,
    /// Who hears of passwords that were accepted.
    pub(super) teacher: Option<Teacher>,
    /// What can be used, but hardly was meant so.
    pub(super) doubts: Vec<Fault>,
}

/// The protocol of a proxy.
pub(super) trait Speak: Send + Sync {
    /// For a new session. `local`: our address on the connection to the server.
    fn protocol(&self, local: SocketAddr) -> Box<dyn Protocol>;

    /// What a client is told that cannot be served now, in the words of a greeting.
    fn refusal(&self, text: &str) -> Vec<u8>;
}

impl Proxy {
    /// Loads certificates and authorities.
    ///
    /// # Errors
    /// Every fault of this section.
    pub(super) fn load(
        proxy: &config::Proxy,
        config: &config::Config,
        archive: &Archive,
        teacher: Option<&Teacher>,
        counters: Arc<Counters>,
    ) -> Result<Proxy, Vec<Fault>> {
        let mut faults = Vec::new();
        let fault = |key: &str, text: String| Fault {
            file: config.file.clone(),
            section: Some(proxy.name.clone()),
            key: Some(key.to_owned()),
            line: None,
            text,
        };
        let mut failed = |tls::Fault { key, text }| faults.push(fault(key, text));
        let acceptor = match (&proxy.certificate, &proxy.private_key, proxy.listen_tls) {
            (_, _, TlsMode::None) => None,
            (Some(certificate), Some(private_key), _) => {
                Acceptor::load(certificate, private_key).map_err(&mut failed).ok()
            }
            _ => {
                failed(tls::Fault {
                    key: "certificate",
                    text: "is missing; listen_tls needs certificate and private_key".to_owned(),
                });
                None
            }
        };
        let connector = match proxy.upstream_tls {
            TlsMode::None => None,
            _ => Connector::load(&proxy.upstream_host, proxy.upstream_ca.as_deref()).map_err(&mut failed).ok(),
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let doubts = acceptor.as_ref().and_then(Acceptor::doubt).map(|text| fault("certificate", text.to_owned()));
        Ok(Proxy {
            doubts: doubts.into_iter().collect(),
            config: proxy.clone(),
            shared: Arc::new(config.shared.clone()),
            archive: archive.clone(),
            acceptor,
            connector,
            counters,
            speaker: speaker(proxy, &config.shared),
            teacher: teacher.cloned(),
        })
    }

    /// What the configuration says about keeping.
    pub(super) fn policy(&self) -> Policy {
        Policy {
            on_archive_failure: self.shared.on_archive_failure,
            max_message_size: self.shared.max_message_size,
            upstream: self.config.upstream(),
            sends: self.config.kind == Kind::Smtp,
            teacher: self.teacher.clone(),
        }
    }
}

fn speaker(proxy: &config::Proxy, shared: &config::Shared) -> Box<dyn Speak> {
    let (listen_tls, upstream_tls) = (proxy.listen_tls, proxy.upstream_tls);
    let default_domain = proxy.default_domain.clone();
    match proxy.kind {
        Kind::Pop3 => Box::new(Pop3(pop3::Settings { listen_tls, upstream_tls, default_domain })),
        Kind::Smtp => Box::new(Smtp(smtp::Settings {
            listen_tls,
            upstream_tls,
            default_domain,
            keep: proxy.keep,
            local_domains: proxy.local_domains.clone(),
            sent_folder: Folder::parse(&shared.sent_folder),
            ehlo_name: String::new(),
            max_message_size: shared.max_message_size,
        })),
        Kind::Imap => {
            let folders = Arc::new(imap::FolderRules::new(shared));
            let (follow, own_tag) = (proxy.follow, String::new());
            let trouble = Arc::default();
            Box::new(Imap(imap::Settings {
                listen_tls,
                upstream_tls,
                default_domain,
                folders,
                follow,
                trouble,
                own_tag,
            }))
        }
    }
}

struct Pop3(pop3::Settings);

impl Speak for Pop3 {
    fn protocol(&self, _: SocketAddr) -> Box<dyn Protocol> {
        Box::new(pop3::Pop3::new(self.0.clone()))
    }

    fn refusal(&self, text: &str) -> Vec<u8> {
        pop3::refusal(text)
    }
}

struct Imap(imap::Settings);

impl Speak for Imap {
    fn protocol(&self, _: SocketAddr) -> Box<dyn Protocol> {
        // Seeded by the system's randomness for each of them.
        let random = RandomState::new().hash_one(()) as u32;
        Box::new(imap::Imap::new(imap::Settings { own_tag: format!("X{random:08x}."), ..self.0.clone() }))
    }

    fn refusal(&self, text: &str) -> Vec<u8> {
        imap::refusal(text)
    }
}

struct Smtp(smtp::Settings);

impl Speak for Smtp {
    fn protocol(&self, local: SocketAddr) -> Box<dyn Protocol> {
        // RFC 5321, section 4.1.4: the address literal, where a name cannot be vouched for.
        let ehlo_name = match local.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => format!("[{ip}]"),
            std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
        };
        Box::new(smtp::Smtp::new(smtp::Settings { ehlo_name, ..self.0.clone() }))
    }

    fn refusal(&self, text: &str) -> Vec<u8> {
        smtp::refusal(text)
    }
}
