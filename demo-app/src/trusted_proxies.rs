//! Learns from trusted proxies who the client is.
//!
//! A client can send any header. So the client's address and the request's id are taken from a
//! request only if its connection comes from a proxy that `--trusted-proxy` names.
//!
//! Each proxy adds the address that it sees at the end of the list. So the list is read from its
//! end, past the trusted proxies, up to the first other address. Anyone may have written what is
//! before it. One header is read, that of `--proxy-header`: a proxy that sets one may let the
//! client's own pass in the other.
//!
//! `axum-client-ip` does not walk over trusted networks.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

use crate::{
    config::{Config, ProxyHeader},
    request_id,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word counts, and the header that they set.
#[derive(Clone, Debug)]
pub(crate) struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ProxyHeader,
}

/// Marks a request that a trusted proxy has sent.
#[cfg(feature = "otel")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromTrustedProxy;

/// Text that no proxy writes.
struct Malformed;

impl TrustedProxies {
    pub(crate) fn new(config: &Config) -> Self {
        Self { networks: config.trusted_proxy.clone(), header: config.proxy_header }
    }

    /// Sets the client's address, and removes an id that does not count.
    pub(crate) fn identify(&self, mut request: Request) -> Request {
        let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
        let is_trusted = peer.is_some_and(|peer| self.trusts(peer.to_canonical()));
        // The proxy's own address counts where it does not say another.
        if is_trusted && let Ok(Some(client)) = self.client(request.headers()) {
            // The client's port is not known.
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, 0)));
        }
        #[cfg(feature = "otel")]
        if is_trusted {
            request.extensions_mut().insert(FromTrustedProxy);
        }
        if !is_trusted || !request_id::is_single_and_plain(request.headers()) {
            request.headers_mut().remove(request_id::HEADER);
        }
        request
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns the last address that is not of a trusted proxy. If all are, the first.
    fn client(&self, headers: &HeaderMap) -> Result<Option<IpAddr>, Malformed> {
        let mut client = None;
        let name = match self.header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => FORWARDED,
        };
        for line in headers.get_all(name).iter().rev() {
            let addresses: Vec<_> = match self.header {
                ProxyHeader::XForwardedFor => {
                    let listed = line.as_bytes().rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                    listed.filter(|text| !text.is_empty()).map(address).collect()
                }
                ProxyHeader::Forwarded => {
                    let elements = split(line.to_str().map_err(|_| Malformed)?, ',')?;
                    elements.into_iter().rev().filter(|element| !element.is_empty()).map(forwarded_for).collect()
                }
            };
            for address in addresses {
                let address = address?;
                client = Some(address);
                if !self.trusts(address) {
                    return Ok(client);
                }
            }
        }
        Ok(client)
    }
}

/// Parses an address, with or without a port.
fn address(text: &[u8]) -> Result<IpAddr, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match in_brackets {
        Some(v6) => v6.parse().map(IpAddr::V6).ok(),
        None => text.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip())).ok(),
    };
    address.map(|address| address.to_canonical()).ok_or(Malformed)
}

//= RFC 7239 §4
/// Returns the `for` of an element of `Forwarded`.
fn forwarded_for(element: &str) -> Result<IpAddr, Malformed> {
    let mut found = None;
    for pair in split(element, ';')? {
        let Some((name, value)) = pair.split_once('=') else { return Err(Malformed) };
        if name.trim().eq_ignore_ascii_case("for") {
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            if found.replace(address(value.as_bytes())?).is_some() {
                return Err(Malformed);
            }
        }
    }
    found.ok_or(Malformed)
}

/// Splits a list at a separator that is not quoted. Each part is trimmed.
///
/// A quotation begins after `=` and ends its part. Otherwise a client's open quotation could
/// swallow what a proxy adds, or end inside of it.
fn split(list: &str, separator: char) -> Result<Vec<&str>, Malformed> {
    let mut parts = Vec::new();
    let (mut begin, mut before) = (0, ' ');
    let (mut quoted, mut escaped, mut closed) = (false, false, false);
    for (at, character) in list.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted => (quoted, closed) = (false, true),
            _ if quoted => {}
            '"' if before == '=' => quoted = true,
            '"' => return Err(Malformed),
            ',' | ';' => {
                closed = false;
                if character == separator {
                    parts.push(list[begin..at].trim());
                    begin = at + 1;
                }
            }
            ' ' | '\t' => {}
            _ if closed => return Err(Malformed),
            _ => {}
        }
        before = character;
    }
    parts.push(list[begin..].trim());
    if quoted { Err(Malformed) } else { Ok(parts) }
}
