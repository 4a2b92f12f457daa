//! TLS: certificates and keys from their files, and handshakes that end in time.
//!
//! TLS 1.2 or 1.3, on both sides. The server's certificate is always verified, for the name in the configuration; there is
//! no switch to turn that off. OpenSSL by its own bindings: native-tls gives clients TLS 1.2 at most, and ChaCha20 on processors that have AES. What cannot be loaded is a sentence that names the file and says what would be right.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    HandshakeError, MidHandshakeSslStream, SslAcceptor, SslConnector, SslContextBuilder, SslMethod, SslOptions,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};

use super::stream::{Socket, Stream};
use super::wait::{Need, Until, wait};
use crate::logging::counted;

/// A file of the configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The configuration key that names the file.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub text: String,
}

/// What clients may use under TLS 1.2, best first. Old ones have no AEAD yet, or such only as needs the longest of handshakes.
const CIPHERS: &str = "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AESGCM+AES128:DHE+AESGCM:DHE+CHACHA20:DHE+AES:RSA+AESGCM:RSA+AES:\
!aNULL:!eNULL:!PSK:!SRP:!DSS";

/// What there is under TLS 1.3, on both sides. AES-128 takes three quarters of the time of AES-256, which OpenSSL has first, and is as hard to break as the
/// key exchange before it (X25519, P-256). Who offers only another gets it.
const SUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/// SSL_OP_CLEANSE_PLAINTEXT, which the bindings do not name: what was read, which may be a credential, is overwritten in OpenSSL's own memory.
const CLEANSE_PLAINTEXT: SslOptions = SslOptions::from_bits_retain(1 << 1);

/// What remains of a certificate's time when it is spoken of, in days. Who renews by himself does so before that (Let's Encrypt's clients: 30 days).
const ENDS_SOON_DAYS: u32 = 14;

/// The accepting side: our certificate.
#[derive(Clone)]
pub struct Acceptor {
    tls: SslAcceptor,
    doubt: Option<String>,
}

/// The connecting side: whom we trust, and the name that the server has to prove.
#[derive(Clone)]
pub struct Connector {
    tls: SslConnector,
    host: String,
}

impl Acceptor {
    /// Loads the chain and the key, and proves with a handshake in memory that they fit and that OpenSSL will use them.
    ///
    /// # Errors
    /// A [`Fault`] for `certificate` or `private_key`.
    pub fn load(certificate: &Path, private_key: &Path) -> Result<Acceptor, Fault> {
        let chain = read("certificate", certificate)?;
        let key = read("private_key", private_key)?;
        let fault = |key, text| Fault { key, text };
        let certificates = match X509::stack_from_pem(&chain) {
            Ok(certificates) if certificates.is_empty() => {
                return Err(fault(
                    "certificate",
                    format!("{}: holds no PEM certificate (\"BEGIN CERTIFICATE\")", certificate.display()),
                ));
            }
            Ok(certificates) => certificates,
            Err(e) => {
                return Err(fault(
                    "certificate",
                    format!("{}: is not a chain of PEM certificates: {e}", certificate.display()),
                ));
            }
        };
        let key = pkcs8(&key).map_err(|why| fault("private_key", format!("{}: {why}", private_key.display())))?;
        let unfit = |why: &str| {
            let (key, certificate) = (private_key.display(), certificate.display());
            format!("{key}: does not belong to the first certificate in {certificate}, or OpenSSL refuses them: {why}")
        };
        let tls = accepting(&certificates, key).map_err(|e| {
            let mismatch = e.errors().iter().any(|e| e.reason().is_some_and(|reason| reason.ends_with("mismatch")));
            let (said, shown) = (e.to_string(), private_key.display());
            let text = if mismatch { unfit(&readable(&said)) } else { format!("{shown}: cannot be used: {said}") };
            fault("private_key", text)
        })?;
        // What else OpenSSL does not like of a key and its certificate, the first client would find out.
        rehearse(&tls).map_err(|why| fault("private_key", unfit(&why)))?;
        Ok(Acceptor { tls, doubt: out_of_date(certificate, &certificates) })
    }

    /// Why clients may refuse the certificate, now or soon; a sentence that names the file.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// Why not: for the log. The connection is closed then.
    pub fn accept(&self, stream: Stream, until: Until<'_>) -> Result<Stream, String> {
        drive(self.tls.accept(plain(stream)?), until)
    }
}

impl Connector {
    /// For the server `host`. `authorities`: a PEM file with the only ones to be trusted; without it, those of the system.
    ///
    /// # Errors
    /// A [`Fault`] for `upstream_ca`.
    pub fn load(host: &str, authorities: Option<&Path>) -> Result<Connector, Fault> {
        let fault = |text| Err(Fault { key: "upstream_ca", text });
        let trusted = match authorities {
            None => None,
            Some(file) => match X509::stack_from_pem(&read("upstream_ca", file)?) {
                Ok(certificates) if certificates.is_empty() => {
                    return fault(format!("{}: holds no PEM certificate (\"BEGIN CERTIFICATE\")", file.display()));
                }
                Ok(certificates) => Some(certificates),
                Err(e) => return fault(format!("{}: is not a list of PEM certificates: {e}", file.display())),
            },
        };
        match connecting(trusted) {
            Ok(tls) => Ok(Connector { tls, host: host.to_owned() }),
            Err(e) => fault(format!("OpenSSL cannot be set up: {e}")),
        }
    }

    /// Shakes hands with the server and verifies its certificate.
    ///
    /// # Errors
    /// Why not: for the log. The connection is closed then.
    pub fn connect(&self, stream: Stream, until: Until<'_>) -> Result<Stream, String> {
        drive(self.tls.connect(&self.host, plain(stream)?), until)
    }
}

/// Forgets errors that another session may have left in this thread: OpenSSL keeps them for each thread, and takes what is there for the cause of what
/// happens next.
pub fn forget_errors() {
    drop(ErrorStack::get());
}

/// What is wrong with the dates of a chain.
fn out_of_date(file: &Path, chain: &[X509]) -> Option<String> {
    let (now, soon) = (Asn1Time::days_from_now(0).ok()?, Asn1Time::days_from_now(ENDS_SOON_DAYS).ok()?);
    let whose = |place: usize| if place == 0 { "the certificate" } else { "a certificate of its chain" };
    let what = chain.iter().enumerate().find_map(|(place, one)| {
        let (begins, ends, whose) = (one.not_before(), one.not_after(), whose(place));
        if begins > now {
            return Some(format!(
                "{whose} is valid only from {begins} on: mail programs refuse it; look at the clock of this machine"
            ));
        }
        if ends < now {
            return Some(format!("{whose} ended on {ends}: mail programs refuse it; renew it, and reload (SIGHUP)"));
        }
        let days = now.diff(ends).ok()?.days;
        (ends < soon).then(|| {
            format!(
                "{whose} ends on {ends}, in {}: renew it, and reload (SIGHUP)",
                counted(usize::try_from(days).unwrap_or(0), "day")
            )
        })
    })?;
    Some(format!("{}: {what}", file.display()))
}

fn plain(stream: Stream) -> Result<Socket, String> {
    stream.into_socket().ok_or_else(|| "TLS is on already".to_owned())
}

fn accepting(chain: &[X509], key: &[u8]) -> Result<SslAcceptor, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_cipher_list(CIPHERS)?;
    // Our order, but for a client that puts ChaCha20 first: its processor has no AES.
    builder.set_options(SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::PRIORITIZE_CHACHA);
    // Each connection of a client's gets one for the next; the usual two are for browsers.
    builder.set_num_tickets(1)?;
    common(&mut builder)?;
    if let [certificate, others @ ..] = chain {
        builder.set_certificate(certificate)?;
        for other in others {
            builder.add_extra_chain_cert(other.clone())?;
        }
    }
    let key = PKey::private_key_from_pem(key)?;
    builder.set_private_key(&key)?;
    Ok(builder.build())
}

/// `trusted`: these and no others.
fn connecting(trusted: Option<Vec<X509>>) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    common(&mut builder)?;
    if let Some(trusted) = trusted {
        let mut store = X509StoreBuilder::new()?;
        for certificate in trusted {
            store.add_cert(certificate)?;
        }
        builder.set_cert_store(store.build());
    }
    Ok(builder.build())
}

fn common(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_ciphersuites(SUITES)?;
    builder.set_options(CLEANSE_PLAINTEXT);
    Ok(())
}

/// Goes through the steps of a handshake under one deadline.
fn drive(first: Result<SslStream<Socket>, HandshakeError<Socket>>, until: Until<'_>) -> Result<Stream, String> {
    let mut step = first;
    loop {
        match step {
            Ok(tls) => return Ok(Stream::over_tls(tls)),
            Err(HandshakeError::SetupFailure(e)) => return Err(readable(&e.to_string())),
            Err(HandshakeError::Failure(middle)) => return Err(readable(&failure(&middle))),
            Err(HandshakeError::WouldBlock(middle)) => {
                let need = middle.get_ref().blocked_on().unwrap_or(Need::Readable);
                wait(middle.get_ref(), need, until).map_err(|why| why.to_string())?;
                step = middle.handshake();
            }
        }
    }
}

/// What OpenSSL says, and its verdict on the certificate where that is it.
fn failure<S>(middle: &MidHandshakeSslStream<S>) -> String {
    match middle.ssl().verify_result() {
        X509VerifyResult::OK => middle.error().to_string(),
        verdict => format!("{} ({verdict})", middle.error()),
    }
}

/// OpenSSL's `error:0A000086:SSL routines:function:reason:file:line: (verdict on the certificate)` as what the administrator needs of it:
/// reason, verdict, and what to look at. Of several errors the last one is what it came to (before it may stand that there is no
/// folder of authorities, on a system without any). Other texts stay as they are.
fn readable(text: &str) -> String {
    let last = text.rfind(", error:").map_or(text, |at| &text[at + 2..]);
    let fields: Vec<&str> = last.splitn(5, ':').collect();
    let ["error", _, _, _, rest] = fields[..] else { return text.to_owned() };
    let reason = rest.split(':').next().unwrap_or(rest);
    let verdict = rest.rsplit_once(": (").and_then(|(_, verdict)| verdict.strip_suffix(')'));
    let help = [
        ("hostname mismatch", "the certificate is for another name than upstream's"),
        ("IP address mismatch", "the certificate is for another name than upstream's"),
        ("issuer certificate", "where the server is the right one, name a file with its authority in upstream_ca"),
        ("self-signed", "where the server is the right one, name a file with this certificate in upstream_ca"),
        ("wrong version number", "the other side does not speak TLS at this port from the start"),
        ("http request", "the other side does not speak TLS at this port from the start"),
        ("alert unknown ca", "the other side does not trust the certificate"),
        ("alert bad certificate", "the other side does not trust the certificate"),
        ("alert certificate unknown", "the other side does not trust the certificate"),
        (
            "alert certificate expired",
            "the other side finds the certificate out of date: openssl x509 -dates -noout -in FILE; or a clock is wrong",
        ),
        ("unsupported protocol", "the other side knows no TLS 1.2"),
        ("alert protocol version", "the other side knows no TLS 1.2"),
    ];
    let said = verdict.map_or_else(|| reason.to_owned(), |verdict| format!("{reason}: {verdict}"));
    match help.iter().find(|(part, _)| said.contains(part)) {
        Some((_, help)) => format!("{said} ({help})"),
        None => said,
    }
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(file).map_err(|e| Fault { key, text: format!("{}: cannot be read: {e}", file.display()) })
}

/// The PKCS#8 block of a key file. What stands before it (openssl writes `Bag Attributes` there) is left out.
fn pkcs8(file: &[u8]) -> Result<&[u8], String> {
    let find = |needle: &[u8]| file.windows(needle.len()).position(|window| window == needle);
    if let Some(at) = find(b"-----BEGIN PRIVATE KEY-----") {
        return Ok(&file[at..]);
    }
    if find(b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some() || find(b"Proc-Type: 4,ENCRYPTED").is_some() {
        return Err(
            "the key is locked with a passphrase; unlock it with: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW"
                .to_owned(),
        );
    }
    for (marker, kind) in [
        (&b"-----BEGIN RSA PRIVATE KEY-----"[..], "PKCS#1 (RSA)"),
        (b"-----BEGIN EC PRIVATE KEY-----", "SEC1 (EC)"),
        (b"-----BEGIN DSA PRIVATE KEY-----", "DSA"),
    ] {
        if find(marker).is_some() {
            return Err(format!(
                "the key is in {kind} form, PKCS#8 is needed; convert it with: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW"
            ));
        }
    }
    Err("holds no PEM private key (\"BEGIN PRIVATE KEY\")".to_owned())
}

/// A handshake with ourselves over a socket pair.
fn rehearse(acceptor: &SslAcceptor) -> Result<(), String> {
    static CLIENT: OnceLock<Option<SslConnector>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        // Who we are is not the question here, only whether certificate and key do their work.
        let mut builder = SslConnector::builder(SslMethod::tls()).ok()?;
        builder.set_verify(SslVerifyMode::NONE);
        Some(builder.build())
    });
    let client = client.as_ref().ok_or("OpenSSL cannot be set up")?;
    let client = client.configure().map_err(|e| e.to_string())?.verify_hostname(false);
    let (ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).map_err(|e| e.to_string())?;
    }
    let mut accepting = step(acceptor.accept(ours))?;
    let mut connecting = step(client.connect("localhost", theirs))?;
    // Each round moves a whole flight; a handshake has fewer than ten.
    for _ in 0..20 {
        let (Some(a), Some(c)) = (accepting.take(), connecting.take()) else { break };
        let (a_done, c_done) = (matches!(a, Middle::Done(_)), matches!(c, Middle::Done(_)));
        if a_done && c_done {
            return Ok(());
        }
        accepting = a.next()?;
        connecting = c.next()?;
    }
    Err("no handshake".to_owned())
}

enum Middle<S> {
    /// Kept open: the other end may still be reading from it.
    Done(#[expect(dead_code, reason = "only its being open matters")] SslStream<S>),
    Going(MidHandshakeSslStream<S>),
}

impl<S: Read + Write> Middle<S> {
    fn next(self) -> Result<Option<Middle<S>>, String> {
        match self {
            Middle::Going(middle) => step(middle.handshake()),
            done => Ok(Some(done)),
        }
    }
}

fn step<S>(result: Result<SslStream<S>, HandshakeError<S>>) -> Result<Option<Middle<S>>, String> {
    match result {
        Ok(tls) => Ok(Some(Middle::Done(tls))),
        Err(HandshakeError::WouldBlock(middle)) => Ok(Some(Middle::Going(middle))),
        Err(HandshakeError::SetupFailure(e)) => Err(e.to_string()),
        Err(HandshakeError::Failure(middle)) => Err(failure(&middle)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{Pem, pem, pem_valid};

    fn complaint(result: Result<Acceptor, Fault>) -> (&'static str, String) {
        result.map(|_| ()).map_err(|Fault { key, text }| (key, text)).unwrap_err()
    }

    #[test]
    fn what_openssl_says_is_made_readable() {
        for (said, shown) in [
            (
                "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/statem_clnt.c:1889: (hostname mismatch)",
                "certificate verify failed: hostname mismatch (the certificate is for another name than upstream's)",
            ),
            (
                "error:0A000086:SSL routines:f:certificate verify failed:f.c:1: (IP address mismatch)",
                "certificate verify failed: IP address mismatch (the certificate is for another name than upstream's)",
            ),
            // Of a client that sends rubbish: no certificate is to blame.
            ("error:0A00009F:SSL routines:f:length mismatch:f.c:1:", "length mismatch"),
            (
                "error:0A000086:SSL routines:f:certificate verify failed:f.c:1: (certificate has expired)",
                "certificate verify failed: certificate has expired",
            ),
            (
                "error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/record/ssl3_record.c:350:",
                "wrong version number (the other side does not speak TLS at this port from the start)",
            ),
            (
                "error:05800088:x509 certificate routines:f:search only supported for directories:f.c:2:, \
                 error:0A000086:SSL routines:f:certificate verify failed:f.c:1: (certificate has expired)",
                "certificate verify failed: certificate has expired",
            ),
            ("unexpected EOF", "unexpected EOF"),
            ("error:1", "error:1"),
        ] {
            assert_eq!(readable(said), shown);
        }
    }

    /// What both come to, by their contexts.
    fn agreed(client: &SslConnector, server: &SslAcceptor) -> String {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let serving = scope.spawn(|| server.accept(ours).unwrap());
            let client = client.configure().unwrap().verify_hostname(false).connect("localhost", theirs).unwrap();
            serving.join().unwrap();
            client.ssl().current_cipher().unwrap().name().to_owned()
        })
    }

    #[test]
    fn what_is_cheap_is_preferred_and_what_the_other_side_needs_is_used() {
        let Pem { certificate, private_key, dir: _dir, .. } = pem();
        let Acceptor { tls: server, .. } = Acceptor::load(&certificate, &private_key).unwrap();
        let (old, new) = (SslVersion::TLS1_2, SslVersion::TLS1_3);
        for (version, offered, used) in [
            (
                new,
                "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
                "TLS_AES_128_GCM_SHA256",
            ),
            (new, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"),
            // A processor without AES.
            (new, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
            (old, "DEFAULT", "ECDHE-ECDSA-AES128-GCM-SHA256"),
            (old, "ECDHE+AES256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
            (old, "ECDHE+CHACHA20:ECDHE+AESGCM", "ECDHE-ECDSA-CHACHA20-POLY1305"),
            (old, "ECDHE+SHA1", "ECDHE-ECDSA-AES256-SHA"),
        ] {
            let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
            builder.set_verify(SslVerifyMode::NONE);
            builder.set_max_proto_version(Some(version)).unwrap();
            let set = if version == new { builder.set_ciphersuites(offered) } else { builder.set_cipher_list(offered) };
            set.unwrap();
            assert_eq!(agreed(&builder.build(), &server), used, "{offered}");
        }
        // Towards a server, which mostly leaves it to us.
        let Connector { tls: client, .. } = Connector::load("localhost", Some(&certificate)).unwrap();
        for (has, used) in [
            ("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
            ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        ] {
            let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
            builder.set_certificate_chain_file(&certificate).unwrap();
            builder.set_private_key_file(&private_key, openssl::ssl::SslFiletype::PEM).unwrap();
            builder.set_ciphersuites(has).unwrap();
            assert_eq!(agreed(&client, &builder.build()), used, "{has}");
        }
    }

    #[test]
    fn certificates_and_keys_are_tried_before_the_first_client() {
        let Pem { certificate, private_key, key, dir } = pem();
        assert!(Acceptor::load(&certificate, &private_key).is_ok());
        let write = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let sec1 = write("sec1.pem", &key.ec_key().unwrap().private_key_to_pem().unwrap());
        let commented =
            write("commented.pem", &[b"Bag Attributes: none\n", &fs::read(&private_key).unwrap()[..]].concat());
        let locked = write(
            "locked.pem",
            &key.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"x").unwrap(),
        );
        let empty = write("empty.pem", b"");
        let broken = write("broken.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        let other = pem();
        let missing = dir.path().join("missing.pem");
        assert!(Acceptor::load(&certificate, &commented).is_ok());
        for (certificate, private_key, key, part) in [
            (&certificate, &sec1, "private_key", "openssl pkcs8 -topk8 -nocrypt"),
            (&certificate, &locked, "private_key", "passphrase"),
            (&certificate, &empty, "private_key", "BEGIN PRIVATE KEY"),
            (&certificate, &broken, "private_key", "cannot be used"),
            (&certificate, &missing, "private_key", "cannot be read"),
            (&certificate, &other.private_key, "private_key", "does not belong to"),
            (&missing, &private_key, "certificate", "cannot be read"),
            (&empty, &private_key, "certificate", "BEGIN CERTIFICATE"),
            (&private_key, &private_key, "certificate", "BEGIN CERTIFICATE"),
        ] {
            let (found, text) = complaint(Acceptor::load(certificate, private_key));
            assert!(found == key && text.contains(part), "{found}: {text}");
        }
        let authorities = |file: &Path| Connector::load("localhost", Some(file)).map(|_| ()).unwrap_err().text;
        assert!(authorities(&empty).contains("BEGIN CERTIFICATE") && authorities(&missing).contains("cannot be read"));
    }

    #[test]
    fn a_certificate_that_is_not_valid_now_or_not_for_long_is_spoken_of() {
        let at = |half_days: i64| {
            let unix = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
            Asn1Time::from_unix(i64::try_from(unix).unwrap() + half_days * 12 * 60 * 60).unwrap()
        };
        for (from, to, told) in [
            (-10, -1, Some("the certificate ended on ")),
            (1, 180, Some("the certificate is valid only from ")),
            (-10, 27, Some(", in 13 days: renew it, ")),
            (-10, 29, None),
        ] {
            let Pem { certificate, private_key, dir: _dir, .. } = pem_valid(&at(from), &at(to));
            let acceptor = Acceptor::load(&certificate, &private_key).unwrap();
            let doubt = acceptor.doubt().unwrap_or_default();
            assert!(told.map_or(doubt.is_empty(), |told| doubt.contains(told)), "{from} {to}: {doubt}");
            // Of a whole chain all have to be valid.
            let good = pem_valid(&at(-10), &at(180));
            let chain = [&good.certificate, &certificate].map(|file| fs::read(file).unwrap()).concat();
            fs::write(&good.certificate, chain).unwrap();
            let acceptor = Acceptor::load(&good.certificate, &good.private_key).unwrap();
            assert_eq!(acceptor.doubt().is_some(), told.is_some(), "{from} {to}");
            assert!(acceptor.doubt().is_none_or(|doubt| doubt.contains(": a certificate of its chain ")));
        }
    }
}
