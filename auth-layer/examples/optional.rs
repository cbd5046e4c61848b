//! Pages for everybody that know who is signed in: `cargo run -p auth-layer --example optional`. It
//! prints a token and the calls to try.
//!
//! A request without credentials passes and has no claims. A bad token is refused all the same: its
//! client believes that it is signed in, and must hear that it is not.

use auth_layer::{
    AuthLayer, Authority, Claims, Grant,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use axum::{
    Router,
    response::IntoResponse,
    routing::{get, post},
};
use http::header::VARY;
use tokio::net::TcpListener;

async fn article(claims: Option<Claims>) -> impl IntoResponse {
    let text = match claims {
        Some(claims) => format!("the whole article, for {}", claims.sub),
        None => "the first paragraph; sign in to read on".to_owned(),
    };
    // Tells caches that they must not send a stranger's copy to a reader.
    ([(VARY, "authorization")], text)
}

/// `Claims` alone are a must: a stranger gets 401, as behind a layer that is not optional.
async fn comment(claims: Claims, comment: String) -> String {
    format!("{} says: {comment}", claims.sub)
}

pub(crate) fn authority() -> Result<Authority, Box<dyn std::error::Error + Send + Sync>> {
    let keys = Keyring::new(SigningKey::generate()?);
    Ok(Authority::builder("https://auth.example", MemoryStore::new()).audience("journal").keys(keys).build()?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, authority: Authority) -> std::io::Result<()> {
    let app = Router::new()
        .route("/article", get(article))
        .route("/comments", post(comment))
        .route_layer(AuthLayer::builder(authority).optional(true).build());
    axum::serve(listener, app).await
}

#[expect(clippy::print_stdout, reason = "the user needs a token")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let authority = authority()?;
    let token = authority.sign_in(authority.begin_sign_in(42_u64).await?, Grant::new("cli")).await?.access_token;
    println!("TOKEN={token}");
    println!("curl http://127.0.0.1:3000/article");
    println!("curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/article");
    println!("curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/comments -d 'well said'");
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, authority).await?)
}
