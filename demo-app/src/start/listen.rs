//! Binds the listener to an address or a name.

use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use super::StartError;

/// Binds the first usable address of `listen`, IPv4 first. A client of 127.0.0.1 then reaches
/// `localhost`, and a client of `localhost` tries both.
pub(super) async fn bind(listen: &str) -> Result<TcpListener, StartError> {
    let found = lookup_host(listen).await.map_err(|error| StartError::UnknownHost(listen.to_owned(), error))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    TcpListener::bind(&*addresses).await.map_err(|error| StartError::Listen(listen.to_owned(), error))
}
