//! Binds the listener to an address or a name.

use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use super::StartError;

/// Binds the first usable address of `listen`, IPv4 first, and returns it. A client of 127.0.0.1 then reaches
/// `localhost`, and a client of `localhost` tries both.
///
/// Errors name `flag`, which has the address.
pub(super) async fn bind(flag: &'static str, listen: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let found = lookup_host(listen).await.map_err(|error| StartError::UnknownHost(flag, listen.to_owned(), error))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let failed = |error| StartError::Listen(flag, listen.to_owned(), error);
    let listener = TcpListener::bind(&*addresses).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
