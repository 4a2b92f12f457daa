//! Addresses to listen on, servers and mail domains: text in, the meaning out, or a sentence that says what is wrong and
//! what would be right. No name is looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::values::{digits, show};
use crate::archive::small_letters;

/// RFC 1035 section 2.3.4, without the dots at the ends.
const HOST_LEN_MAX: usize = 253;
const LABEL_LEN_MAX: usize = 63;

/// `address:port` to listen on. The address is a literal one, so that what is bound never depends on a name server.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    const RIGHT: &str = "write address:port, as 127.0.0.1:1110 or [::1]:1110";
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let example = SocketAddr::new(address, 1110);
        return Err(format!("{} has no port; write address:port, as {example}", show(text)));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("{} has no port; {RIGHT}", show(text)));
    };
    let Some(port) = digits::<u64>(port).and_then(|port| u16::try_from(port).ok()) else {
        return Err(format!("the port of {} is not a number from 0 to 65535; {RIGHT}", show(text)));
    };
    Err(match host {
        "" | "*" => format!(
            "{} names no address; write 0.0.0.0:{port} for every IPv4 address, [::]:{port} for IPv6",
            show(text)
        ),
        "localhost" => format!("{} is a name; write the address, 127.0.0.1:{port} or [::1]:{port}", show(text)),
        _ if host.parse::<Ipv6Addr>().is_ok() => {
            format!("{} is an IPv6 address without brackets; write [{host}]:{port}", show(text))
        }
        _ => format!("{} does not begin with an IP address; {RIGHT}", show(text)),
    })
}

/// `host:port` of a server; an IPv6 address in brackets, which the result has no more. Names in lower case.
pub(super) fn upstream(text: &str) -> Result<(String, u16), String> {
    const RIGHT: &str = "write host:port, as mail.example.com:995";
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
        let port = if host.contains(':') { "" } else { ":PORT" };
        return Err(format!(
            "{} is a URL, and only host:port is wanted; write {}",
            show(text),
            show(&format!("{host}{port}"))
        ));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("{} is an IPv6 address without brackets; write [address]:port, as [::1]:995", show(text)));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        return Err(format!("{} has no port; {RIGHT}", show(text)));
    };
    let port = digits::<u64>(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let Some(port) = port else {
        return Err(format!("the port of {} is not a number from 1 to 65535; {RIGHT}", show(text)));
    };
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        let address =
            address.ok_or_else(|| format!("{} holds no IPv6 address in its brackets; {RIGHT}", show(text)))?;
        return Ok((address.to_string(), port));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok((address.to_string(), port));
    }
    let wrong = |why: &str| format!("the host of {} {why}; {RIGHT}", show(text));
    if host.contains(':') {
        return Err(wrong("has a colon; an IPv6 address stands in brackets, as [::1]:995"));
    }
    if !host.is_ascii() {
        return Err(wrong("is not ASCII; write such a name in its ASCII form (xn--...)"));
    }
    check_name(host).map_err(|why| wrong(&why))?;
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong("is neither a name nor an IP address"));
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// A mail domain, in lower case. Non-ASCII letters may stand in it: SMTPUTF8 (RFC 6531) carries them as they are.
pub(super) fn domain(text: &str) -> Result<String, String> {
    const RIGHT: &str = "write a domain, as example.com";
    if let Some((_, behind)) = text.rsplit_once('@') {
        return Err(format!("{} is no domain; write only what stands behind the @: {}", show(text), show(behind)));
    }
    if text.starts_with("*.") || text.starts_with('.') {
        return Err(format!("{} is no domain; each subdomain has to be named itself", show(text)));
    }
    check_name(text).map_err(|why| format!("{} {why}; {RIGHT}", show(text)))?;
    Ok(small_letters(text))
}

/// The form of a name in the DNS (RFC 1123 section 2.1); `_` is let through, for it occurs.
fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    if name.len() > HOST_LEN_MAX {
        return Err(format!("is longer than {HOST_LEN_MAX} bytes"));
    }
    if name.ends_with('.') {
        return Err("has a dot at its end".to_owned());
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err("has two dots together".to_owned());
        }
        if label.len() > LABEL_LEN_MAX {
            return Err(format!("has a part longer than {LABEL_LEN_MAX} bytes"));
        }
        if let Some(odd) = label.chars().find(|c| !c.is_alphanumeric() && !matches!(c, '-' | '_')) {
            return Err(format!("has a {} in it", show(&odd.to_string())));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("has a hyphen at the end of a part".to_owned());
        }
    }
    Ok(())
}
