//! Keycloak's access tokens, revocable: `cargo run -p auth-layer --features discovery --example
//! keycloak https://kc.example/realms/main`. A logout here or at Keycloak ends them at once.
use auth_layer::{
    AuthLayer, Claims, Rejection, Trust,
    oidc::BackChannelLogout,
    store::MemoryStore,
    trust::{BuildError, Issuer, Typ},
};
use axum::{Router, extract::State, routing::get, routing::post};
use tokio::net::TcpListener;

pub(crate) fn trust(realm: &str) -> Result<Trust, BuildError> {
    let keycloak = Issuer::discover(realm).typ(Typ::AnyJwt).claim("typ", "Bearer");
    let keycloak = keycloak.audience("orders").logout_audience("web");
    Trust::builder(MemoryStore::new()).issuer(keycloak).build()
}

async fn logout(State(trust): State<Trust>, claims: Claims) -> Result<(), Rejection> {
    Ok(trust.deny(&claims).await?)
}

pub(crate) async fn serve(listener: TcpListener, trust: Trust) -> std::io::Result<()> {
    let app = Router::new()
        .route("/me", get(async |claims: Claims| claims.sub.to_string()))
        .route("/logout", post(logout))
        .route_layer(AuthLayer::new(&trust))
        .route_service("/backchannel-logout", BackChannelLogout::new(&trust))
        .with_state(trust);
    axum::serve(listener, app).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let realm = std::env::args().nth(1).ok_or("name the URL of a realm")?;
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, trust(&realm)?).await?)
}
