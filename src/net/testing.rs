//! What tests share: connected sockets, and throw-away certificates.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// Two ends of one TCP connection. `small`: with buffers that are full soon (smaller ones make the loopback wait for its persist timer).
pub(crate) fn pair(small: bool) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    for end in [&a, &b] {
        // A test that waits for ever is worse than one that fails.
        end.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        end.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        if small {
            setsockopt(end, sockopt::SndBuf, &(32 << 10)).unwrap();
            setsockopt(end, sockopt::RcvBuf, &(32 << 10)).unwrap();
        }
    }
    (a, b)
}

/// A private key and a certificate for `localhost` and 127.0.0.1, signed by itself, as files in a folder of their own.
pub(crate) struct Pem {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
    pub(crate) key: PKey<Private>,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn pem() -> Pem {
    let days = |days| Asn1Time::days_from_now(days).unwrap();
    pem_valid(&days(0), &days(2))
}

pub(crate) fn pem_valid(from: &Asn1Time, to: &Asn1Time) -> Pem {
    let dir = tempfile::tempdir().unwrap();
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut x509 = X509::builder().unwrap();
    x509.set_version(2).unwrap();
    x509.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    x509.set_subject_name(&name).unwrap();
    x509.set_issuer_name(&name).unwrap();
    x509.set_not_before(from).unwrap();
    x509.set_not_after(to).unwrap();
    x509.set_pubkey(&key).unwrap();
    x509.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
    let names =
        SubjectAlternativeName::new().dns("localhost").ip("127.0.0.1").build(&x509.x509v3_context(None, None)).unwrap();
    x509.append_extension(names).unwrap();
    x509.sign(&key, MessageDigest::sha256()).unwrap();
    let (certificate, private_key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    fs::write(&certificate, x509.build().to_pem().unwrap()).unwrap();
    fs::write(&private_key, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    Pem { certificate, private_key, key, dir }
}
