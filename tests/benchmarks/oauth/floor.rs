//! The least that a server does: it answers the same bytes, and for a token it signs and commits.

use std::{
    borrow::Cow,
    env,
    io::Write,
    sync::{Arc, mpsc},
    thread,
};

use aws_lc_rs::signature::Ed25519KeyPair;
use axum::{
    Router,
    body::Bytes,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    routing::post,
};
use redb::Database;
use tokio::{net::TcpListener, sync::oneshot};

use crate::limits::{ROW, ROWS, SIGNED};

/// The variable that makes this program a server that answers. Its value is the answers to an
/// introspection, a client credentials request and any other token request, as a JSON array.
pub(crate) const ANSWERS: &str = "BENCH_OAUTH_ANSWERS";

/// The variable that makes it sign and commit before it answers with a token.
pub(crate) const WORKS: &str = "BENCH_OAUTH_WORKS";

/// How many rows share a commit at most.
const MAX_GROUP: usize = 256;

/// What is done for a token.
struct Work {
    key: Ed25519KeyPair,
    rows: mpsc::Sender<oneshot::Sender<()>>,
}

impl Work {
    /// Starts a thread that commits one row for each request, as many at a time as wait.
    fn start() -> Self {
        let (rows, askers) = mpsc::channel::<oneshot::Sender<()>>();
        thread::spawn(move || {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            let database = Database::create(directory.path().join("rows.redb")).expect("a database can be made");
            let mut key = 0;
            while let Ok(first) = askers.recv() {
                // The others that are about to ask share the commit.
                thread::yield_now();
                let group: Vec<_> = std::iter::once(first).chain(askers.try_iter()).take(MAX_GROUP).collect();
                let writing = database.begin_write().expect("the disk serves");
                let mut table = writing.open_table(ROWS).expect("it is there");
                for _ in &group {
                    key += 1;
                    table.insert(key, &ROW[..]).expect("the disk serves");
                }
                drop(table);
                writing.commit().expect("the disk serves");
                for asker in group {
                    asker.send(()).expect("the request waits");
                }
            }
        });
        Self { key: Ed25519KeyPair::generate().expect("there is randomness"), rows }
    }

    /// Makes this number of signatures, and waits until a row is on the disk.
    async fn run(&self, signatures: usize) {
        for _ in 0..signatures {
            std::hint::black_box(self.key.sign(&[b'a'; SIGNED]));
        }
        let (asker, done) = oneshot::channel();
        self.rows.send(asker).expect("the thread runs");
        done.await.expect("the thread runs");
    }
}

/// Returns the signatures that the demo application makes for a grant: one for each token. It
/// remembers the refresh tokens that it has signed.
fn signatures(grant_type: &str) -> usize {
    if grant_type == "client_credentials" { 1 } else { 2 }
}

/// Serves until the process is killed: reads each form and answers the same bytes.
pub(crate) async fn serve() {
    let answers = env::var(ANSWERS).expect("its caller checked that it is there");
    let [introspection, token, pair]: [String; 3] = serde_json::from_str(&answers).expect("three answers");
    let [introspection, token, pair] = [introspection, token, pair].map(Bytes::from);
    let respond = |answer: &Bytes| ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], answer.clone());
    let work = env::var_os(WORKS).map(|_| Arc::new(Work::start()));
    let issue = async move |form: Bytes| {
        let grant_type = form_urlencoded::parse(&form).find(|(name, _)| name == "grant_type");
        let (_, grant_type) = grant_type.expect("each request names a grant");
        if let Some(work) = &work {
            work.run(signatures(&grant_type)).await;
        }
        respond(if grant_type == "client_credentials" { &token } else { &pair })
    };
    let introspect = async move |form: Bytes| {
        let is_token = |(name, _): (Cow<'_, str>, Cow<'_, str>)| name == "token";
        assert!(form_urlencoded::parse(&form).any(is_token), "each request names a token");
        respond(&introspection)
    };
    let router = Router::new().route("/oauth/token", post(issue)).route("/oauth/introspect", post(introspect));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it listens");
    writeln!(std::io::stdout(), "listening on http://{address}").expect("the parent reads");
    axum::serve(listener, router).await.expect("it serves");
}
