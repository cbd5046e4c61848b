//! What routes demand of a good token, in each place where it can be said:
//! `cargo run -p auth-layer --example guards`. It prints a clerk's token and calls to try.
//!
//! | where | for |
//! | --- | --- |
//! | the layer | all routes behind it |
//! | a `GuardLayer` | some of them |
//! | `Guarded<R>` | one handler, in its signature |
//! | `Demand::check` | a condition that the request decides |

use std::time::Duration;

use auth_layer::{
    AuthLayer, Authority, Claims, Demand, Grant, GuardLayer, Rejection,
    extract::{Guarded, Requirement},
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use axum::{
    Router,
    extract::Path,
    routing::{get, post, put},
};
use serde::Serialize;
use tokio::net::TcpListener;

/// The claim that `Demand::role` reads (RFC 9068 §2.2.3.1).
#[derive(Serialize)]
struct Roles {
    roles: Vec<&'static str>,
}

struct Clerk;

impl Requirement for Clerk {
    fn demand() -> Demand {
        Demand::new().role("clerk")
    }
}

async fn list() -> &'static str {
    "all orders"
}

async fn change(Path(order): Path<u64>) -> String {
    format!("order {order} is changed")
}

async fn ship(clerk: Guarded<Clerk>, Path(order): Path<u64>) -> String {
    format!("order {order} is shipped by {}", clerk.sub)
}

async fn refund(claims: Claims, Path((order, amount)): Path<(u64, u64)>) -> Result<String, Rejection> {
    if amount > 100 {
        // A client that reads the challenge lets its user sign in again (RFC 9470).
        Demand::new().max_age(Duration::from_mins(5)).check(&claims)?;
    }
    Ok(format!("{amount} for order {order} is paid back"))
}

pub(crate) fn authority() -> Result<Authority, Box<dyn std::error::Error + Send + Sync>> {
    let keys = Keyring::new(SigningKey::generate()?);
    Ok(Authority::builder("https://auth.example", MemoryStore::new()).audience("shop").keys(keys).build()?)
}

pub(crate) fn clerk() -> Result<Grant, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Grant::new("cli").scope("orders:read orders:write".parse()?).custom(&Roles { roles: vec!["clerk"] })?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, authority: Authority) -> std::io::Result<()> {
    let writing = Router::new()
        .route("/orders/{order}", put(change))
        .route("/orders/{order}/ship", post(ship))
        .route("/orders/{order}/refund/{amount}", post(refund))
        .route_layer(GuardLayer::new(Demand::new().scope("orders:write")));
    let app = Router::new()
        .route("/orders", get(list))
        .merge(writing)
        .route_layer(AuthLayer::builder(authority).scope("orders:read").build());
    axum::serve(listener, app).await
}

#[expect(clippy::print_stdout, reason = "the user needs a token")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let authority = authority()?;
    let token = authority.sign_in(authority.begin_sign_in(42_u64).await?, clerk()?).await?.access_token;
    println!("TOKEN={token}");
    println!("curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/orders");
    println!("curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/orders/7/refund/500");
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, authority).await?)
}
