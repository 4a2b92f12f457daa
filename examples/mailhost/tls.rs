//! A throw-away certificate, and what its two sides need.

use std::io;

use native_tls::{Identity, Protocol, TlsAcceptor, TlsConnector};
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

/// For how long it is valid.
const DAYS: u32 = 30;

/// All in PEM.
#[derive(Clone)]
pub(crate) struct Certificate {
    /// Whom a client has to trust.
    pub(crate) authority: Vec<u8>,
    pub(crate) chain: Vec<u8>,
    /// PKCS#8, without a passphrase.
    pub(crate) key: Vec<u8>,
}

impl Certificate {
    /// Makes an authority, and a certificate signed by it for localhost, 127.0.0.1 and ::1.
    pub(crate) fn throw_away() -> io::Result<Certificate> {
        Ok(make()?)
    }

    pub(super) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let identity = Identity::from_pkcs8(&self.chain, &self.key).map_err(io::Error::other)?;
        let mut builder = TlsAcceptor::builder(identity);
        builder.min_protocol_version(Some(Protocol::Tlsv12)).build().map_err(io::Error::other)
    }
}

/// Trusts nobody but this authority.
pub(crate) fn connector(authority: &[u8]) -> io::Result<TlsConnector> {
    let authority = native_tls::Certificate::from_pem(authority).map_err(io::Error::other)?;
    let mut builder = TlsConnector::builder();
    builder.disable_built_in_roots(true).add_root_certificate(authority).build().map_err(io::Error::other)
}

fn make() -> Result<Certificate, ErrorStack> {
    let (authority_key, key) = (new_key()?, new_key()?);
    let issuer = name("MailStore throw-away authority")?;

    let mut builder = begin(&issuer, &issuer, &authority_key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    builder.sign(&authority_key, MessageDigest::sha256())?;
    let authority = builder.build();

    let mut builder = begin(&name("MailStore throw-away host")?, &issuer, &key)?;
    let mut names = SubjectAlternativeName::new();
    let names =
        names.dns("localhost").ip("127.0.0.1").ip("::1").build(&builder.x509v3_context(Some(&authority), None))?;
    builder.append_extension(names)?;
    builder.append_extension(BasicConstraints::new().build()?)?;
    builder.sign(&authority_key, MessageDigest::sha256())?;
    Ok(Certificate {
        authority: authority.to_pem()?,
        chain: builder.build().to_pem()?,
        key: key.private_key_to_pem_pkcs8()?,
    })
}

fn begin(subject: &X509Name, issuer: &X509Name, key: &PKey<Private>) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, openssl::bn::MsbOption::MAYBE_ZERO, false)?;
    let serial: Asn1Integer = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    let (from, to) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(DAYS)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    Ok(builder)
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn name(common: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, common)?;
    Ok(builder.build())
}
