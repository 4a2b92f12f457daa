//! The pages under `docs/` are true: what they tell the administrator to write and to type is used as it stands there, with real
//! programs. Only what is his own is put in its place: paths, ports, names of hosts.

mod support;

#[path = "pages/clients.rs"]
mod clients;
#[path = "pages/fail2ban.rs"]
mod fail2ban;
#[path = "pages/hosts.rs"]
mod hosts;
#[path = "pages/index.rs"]
mod index;
#[path = "pages/page.rs"]
mod page;
#[path = "pages/quickstart.rs"]
mod quickstart;
#[path = "pages/said.rs"]
mod said;
#[path = "pages/troubleshooting.rs"]
mod troubleshooting;
