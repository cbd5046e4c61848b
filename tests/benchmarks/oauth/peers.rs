//! The peers: what others would use.

use std::path::{Path, PathBuf};

use tests::packages;

use crate::{databases::Databases, report::progress, server::Server};

/// The names of the peers in the tables.
pub(crate) const OPAQUE: &str = "oidc-provider, opaque tokens, in memory";
pub(crate) const JWT: &str = "oidc-provider, JWTs, in memory";
pub(crate) const FASTAPI: &str = "FastAPI, MongoDB and Redis";

/// Starts oidc-provider with access tokens of this format, `opaque` or `jwt`; `None` if it cannot
/// be installed.
pub(crate) async fn oidc_provider(format: &str) -> Option<Server> {
    let folder = installed(OPAQUE, packages::node(&sources("oidc-provider")))?;
    let script = folder.join("server.mjs");
    let script = script.to_str().expect("a name in ASCII");
    Some(Server::peer("node", &[script], &[("NODE_ENV", "production"), ("BENCH_FORMAT", format)]).await)
}

/// Starts the `FastAPI` application; `None` if it cannot be installed.
pub(crate) async fn fastapi(databases: &Databases) -> Option<Server> {
    let sources = sources("fastapi");
    let folder = installed(FASTAPI, packages::python(&sources))?;
    let (folder, script) = (folder.to_str().expect("a name in ASCII"), sources.join("server.py"));
    let (mongodb, redis) = (databases.mongodb.uri(), databases.redis.url());
    let env = [
        ("PYTHONPATH", folder),
        ("PYTHONNOUSERSITE", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("BENCH_MONGODB_URI", &mongodb),
        ("BENCH_REDIS_URL", &redis),
    ];
    Some(Server::peer("python3", &[script.to_str().expect("a name in ASCII")], &env).await)
}

fn sources(peer: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oauth/peers").join(peer)
}

fn installed(name: &str, packages: Result<PathBuf, String>) -> Option<PathBuf> {
    packages.inspect_err(|error| progress(&format!("without {name}: {error}"))).ok()
}
