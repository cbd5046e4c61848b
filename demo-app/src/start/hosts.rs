//! Describes a MongoDB URI without its secrets.

use mongodb::options::{ConnectionString, HostInfo};

/// Returns the servers of a URI and its replica set.
pub(crate) fn hosts(uri: &str) -> String {
    let Ok(uri) = ConnectionString::parse(uri) else { return "an unreadable URI".to_owned() };
    let hosts = match &uri.host_info {
        HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        HostInfo::DnsRecord(name) => name.clone(),
        _ => "an unknown host".to_owned(),
    };
    match &uri.replica_set {
        Some(name) => format!("{name}/{hosts}"),
        None => hosts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_line_shows_mongodb_hosts_without_credentials() {
        assert_eq!(hosts("mongodb://ada:s3cret@a:1,b/?replicaSet=rs0&authSource=admin"), "rs0/a:1,b:27017");
        assert_eq!(hosts("mongodb://h"), "h:27017");
    }
}
