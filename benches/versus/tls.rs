//! A throw-away authority with a certificate for this machine (RSA-2048, as most hosts have), and both sides' contexts.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslConnector, SslMethod, SslStream};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

use crate::Outcome;

/// PEM files: whom to trust; the chain, its key; and both in one, as HAProxy wants it.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) authority: PathBuf,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) both: PathBuf,
}

/// What it takes to serve, and to connect.
#[derive(Clone)]
pub(crate) struct Server(SslAcceptor);

#[derive(Clone)]
pub(crate) struct Client(SslConnector);

/// Makes all anew.
pub(crate) fn make(dir: &Path) -> Outcome<(Files, Server, Client)> {
    let files = Files {
        authority: dir.join("authority.pem"),
        chain: dir.join("chain.pem"),
        key: dir.join("key.pem"),
        both: dir.join("both.pem"),
    };
    let (authority, certificate, key) = certificates()?;
    std::fs::write(&files.authority, authority.to_pem()?)?;
    std::fs::write(&files.chain, certificate.to_pem()?)?;
    std::fs::write(&files.key, key.private_key_to_pem_pkcs8()?)?;
    std::fs::write(&files.both, [certificate.to_pem()?, key.private_key_to_pem_pkcs8()?].concat())?;

    let mut server = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    server.set_certificate(&certificate)?;
    server.set_private_key(&key)?;
    server.set_session_id_context(b"bench")?;
    let mut client = SslConnector::builder(SslMethod::tls_client())?;
    client.cert_store_mut().add_cert(authority)?;
    Ok((files, Server(server.build()), Client(client.build())))
}

impl Server {
    pub(crate) fn accept(&self, tcp: TcpStream) -> io::Result<SslStream<TcpStream>> {
        self.0.accept(tcp).map_err(io::Error::other)
    }
}

impl Client {
    pub(crate) fn connect(&self, tcp: TcpStream) -> io::Result<SslStream<TcpStream>> {
        self.0.connect("localhost", tcp).map_err(io::Error::other)
    }
}

fn certificates() -> Result<(X509, X509, PKey<Private>), ErrorStack> {
    let (authority_key, key) = (PKey::from_rsa(Rsa::generate(2048)?)?, PKey::from_rsa(Rsa::generate(2048)?)?);
    let issuer = name("MailStore bench authority")?;
    let mut builder = begin(&issuer, &issuer, &authority_key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    builder.sign(&authority_key, MessageDigest::sha256())?;
    let authority = builder.build();
    let mut builder = begin(&name("localhost")?, &issuer, &key)?;
    let mut names = SubjectAlternativeName::new();
    let names = names.dns("localhost").ip("127.0.0.1").build(&builder.x509v3_context(Some(&authority), None))?;
    builder.append_extension(names)?;
    builder.append_extension(BasicConstraints::new().build()?)?;
    builder.sign(&authority_key, MessageDigest::sha256())?;
    Ok((authority, builder.build(), key))
}

fn begin(subject: &X509Name, issuer: &X509Name, key: &PKey<Private>) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    let (from, to) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(2)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    Ok(builder)
}

fn name(common: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_text("CN", common)?;
    Ok(builder.build())
}
