//! The settings in effect, without their secrets.

use serde::Serialize;

use crate::start::hosts;

/// A setting as the program uses it.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    /// The name of the flag, without its hyphens.
    pub(crate) name: String,
    /// Its values, none if it is not set. Secrets are replaced.
    pub(crate) values: Vec<String>,
    pub(crate) origin: Origin,
    /// The environment variable that can set it.
    pub(crate) variable: String,
}

/// Where a setting's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    Flag,
    Variable,
    File,
    Default,
}

impl Setting {
    pub(super) fn new(name: String, values: Vec<String>, origin: Origin, variable: String) -> Self {
        let shown: fn(String) -> String = match name.as_str() {
            "mongodb-uri" => |uri| hosts(&uri),
            "redis-url" => |url| without_credentials(&url),
            "clients" => |client| without_secret(&client),
            _ => |value| value,
        };
        Self { values: values.into_iter().map(shown).collect(), name, origin, variable }
    }
}

/// Returns what precedes the credentials of a URL and what follows them, up to its path.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "[hidden]".to_owned() };
    // A password may have any of these characters unencoded, so the last `@` ends it.
    match rest.rsplit_once('@') {
        Some((_, server)) => format!("{scheme}://[hidden]@{server}"),
        None => url.to_owned(),
    }
}

/// Returns the id of a client that is named with its secret.
fn without_secret(client: &str) -> String {
    client.split_once(':').map_or_else(|| "[hidden]".to_owned(), |(id, _)| format!("{id}:[hidden]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_shows_no_secret() {
        let shown = |name: &str, value: &str| {
            let setting = Setting::new(name.to_owned(), vec![value.to_owned()], Origin::Flag, String::new());
            setting.values.concat()
        };
        assert_eq!(shown("mongodb-uri", "mongodb://ada:hush@a:1,b/?replicaSet=rs0"), "rs0/a:1,b:27017");
        assert_eq!(shown("redis-url", "redis://h:1/2"), "redis://h:1/2");
        for url in ["redis://:hush@h:1/2", "redis://ada:hush@h:1/2", "redis://ada:hu/hush@hush@h:1/2"] {
            assert_eq!(shown("redis-url", url), "redis://[hidden]@h:1/2");
        }
        assert_eq!(shown("redis-url", "hush"), "[hidden]");
        assert_eq!(shown("clients", "job:hush:hush"), "job:[hidden]");
        assert_eq!(shown("clients", "hush"), "[hidden]");
        assert_eq!(shown("issuer", "https://auth.example"), "https://auth.example");
    }
}
