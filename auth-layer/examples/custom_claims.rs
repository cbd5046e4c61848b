//! Claims of your own: issued at the sign-in, read by handlers, renewed by each refresh.
//! `cargo run -p auth-layer --example custom_claims` prints two tokens and the calls to try.

use std::{
    collections::HashMap,
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, IssuedPair, Rejection, Subject,
    authority::Renewal,
    extract::Custom,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// Our claims. They become members of the token's payload, beside `sub` and `exp`.
#[derive(Clone, Serialize, Deserialize)]
struct Membership {
    tenant: String,
    plan: String,
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

#[derive(Clone)]
pub(crate) struct App {
    authority: Authority,
    /// In a real service a table. A token holds a copy of its row.
    members: Arc<Mutex<HashMap<Subject, Membership>>>,
}

impl App {
    pub(crate) fn new() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let keys = Keyring::new(SigningKey::generate()?);
        let authority = Authority::builder("https://auth.example", MemoryStore::new())
            .audience("reports")
            .keys(keys)
            // Claims that do not read as this type are never issued.
            .custom_claims::<Membership>()
            .build()?;
        Ok(Self { authority, members: Arc::default() })
    }

    /// Reads the user's row.
    fn membership(&self, user: &Subject) -> Membership {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Membership { tenant: "shop".to_owned(), plan: "free".to_owned() };
        members.entry(user.clone()).or_insert_with(new).clone()
    }

    /// Signs a user in whose password is right: `own_users` checks one.
    pub(crate) async fn sign_in(&self, user: Subject) -> Result<IssuedPair, Rejection> {
        let sign_in = self.authority.begin_sign_in(user.clone()).await?;
        let grant = Grant::new("web").custom(&self.membership(&user))?;
        Ok(self.authority.sign_in(sign_in, grant).await?)
    }
}

async fn report(claims: Claims, Custom(membership): Custom<Membership>) -> String {
    format!("the report of {} for user {}, plan {}", membership.tenant, claims.sub, membership.plan)
}

async fn upgrade(State(app): State<App>, claims: Claims) {
    let paid = Membership { plan: "paid".to_owned(), ..app.membership(&claims.sub) };
    app.members.lock().unwrap_or_else(PoisonError::into_inner).insert(claims.sub.clone(), paid);
}

/// Tokens are never changed: the new plan is in the next one.
async fn refresh(State(app): State<App>, Json(body): Json<Refresh>) -> Result<IssuedPair, Rejection> {
    let renew = |session: auth_layer::store::Session| ready(Renewal::new().custom(&app.membership(&session.user_id)));
    Ok(app.authority.refresh_with(&body.refresh_token, renew).await?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, app: App) -> std::io::Result<()> {
    // Tokens whose claims do not read as this type reach no handler.
    let layer = AuthLayer::builder(&app.authority).custom_claims::<Membership>().build();
    let router = Router::new()
        .route("/report", get(report))
        .route("/upgrade", post(upgrade))
        .route_layer(layer)
        .route("/refresh", post(refresh))
        .with_state(app);
    axum::serve(listener, router).await
}

#[expect(clippy::print_stdout, reason = "the user needs a token")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let app = App::new()?;
    let pair = app.sign_in(42_u64.into()).await?;
    println!("TOKEN={} REFRESH={}", pair.access_token, pair.refresh_token);
    println!("curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/report");
    println!("curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/upgrade");
    println!("curl http://127.0.0.1:3000/refresh --json '{{\"refresh_token\":\"'$REFRESH'\"}}'");
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, app).await?)
}
