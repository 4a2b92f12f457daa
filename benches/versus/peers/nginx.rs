//! nginx's mail proxy. Whom a login belongs to it asks by HTTP, which is answered here. It speaks no TLS to servers.
//!
//! It sets no TCP_NODELAY: with its own small buffers each message waits 44 ms for its last piece. Larger ones let the small messages pass in one.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use super::{Daemon, SESSIONS_MAX, Stage, Started, free, program};
use crate::{Kind, Outcome};

const MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

pub(super) fn start(stage: &Stage<'_>, dir: &Path) -> Outcome<Started> {
    let Some(nginx) = program(&["nginx"]).filter(|_| Path::new(MODULE).is_file()) else { return Ok(None) };
    let backs = Kind::ALL.map(|kind| stage.origin.at(kind, false));
    let http = TcpListener::bind("127.0.0.1:0")?;
    let asked = http.local_addr()?;
    thread::spawn(move || {
        for tcp in http.incoming().flatten() {
            thread::spawn(move || answer(tcp, backs));
        }
    });
    let place = dir.display();
    let mut at = HashMap::new();
    let mut servers = String::new();
    for kind in Kind::ALL {
        let front = free()?;
        servers += &format!("server {{ listen {front}; protocol {}; proxy on; proxy_smtp_auth on; }}\n", kind.name());
        at.insert((kind, false), front);
    }
    let config = format!(
        "load_module {MODULE};\ndaemon off;\nuser root;\npid {place}/pid;\nerror_log stderr warn;\nworker_processes auto;\n\
         events {{ worker_connections {}; }}\n\
         mail {{\nserver_name localhost;\nauth_http {asked}/;\nsmtp_auth plain;\nproxy_buffer 64k;\nsmtp_client_buffer 64k;\ntimeout 1h;\nproxy_timeout 1h;\n{servers}}}\n",
        2 * SESSIONS_MAX,
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new(nginx);
    command.arg("-e").arg("stderr").arg("-p").arg(dir).arg("-c").arg(&file);
    Ok(Some((Daemon::spawn(&command, &dir.join("log"))?, at)))
}

/// One question, as nginx asks it: every login is right.
fn answer(tcp: TcpStream, backs: [SocketAddr; 3]) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut lines = BufReader::new(&tcp).lines();
    let mut kind = Kind::Smtp;
    loop {
        let line = lines.next().transpose()?.unwrap_or_default();
        if line.is_empty() {
            break;
        }
        if let Some(protocol) = line.strip_prefix("Auth-Protocol: ") {
            kind = Kind::ALL.into_iter().find(|kind| kind.name() == protocol).unwrap_or(kind);
        }
    }
    let back = backs[kind as usize];
    let said = format!(
        "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {}\r\nAuth-Port: {}\r\n\r\n",
        back.ip(),
        back.port()
    );
    (&tcp).write_all(said.as_bytes())
}
