//! An MCP server (Model Context Protocol) as an OAuth resource: its clients sign users in at an
//! authorization server, here `demo-app`, and `AuthLayer` checks each call.
//!
//! ```sh
//! cargo run -p demo-app -- clients create agent --public --redirect-uri http://127.0.0.1/callback
//! cargo run -p demo-app -- --audience demo-app,http://127.0.0.1:4000/mcp
//! cargo run -p auth-layer --features discovery --example mcp http://127.0.0.1:3000 # beside it
//! ```
//!
//! Add `http://127.0.0.1:4000/mcp` to an MCP client, with the client id `agent`. The client finds the
//! rest by itself: a 401 names the resource's metadata (RFC 9728), which names the authorization
//! server (RFC 8414). It asks for tokens for this server alone (RFC 8707).
//!
//! The tool `sign_out` ends the session here at once. A revocation at the authorization server ends it
//! when the access token expires, for it records nothing here.

use auth_layer::{
    AuthLayer, Claims, Trust, oauth::ProtectedResourceMetadata, rejection::ResourceMetadata, store::MemoryStore,
    trust::Issuer,
};
use axum::Router;
use http::request::Parts;
use rmcp::{
    ErrorData,
    handler::server::tool::Extension,
    tool, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use tokio::net::TcpListener;

struct Tools {
    trust: Trust,
}

/// Returns the claims that the layer has left in the HTTP request.
fn claims(request: &Parts) -> Result<Claims, ErrorData> {
    let claims = Claims::from_extensions(&request.extensions).ok().flatten();
    claims.ok_or_else(|| ErrorData::internal_error("no layer is in front", None))
}

#[tool_router(server_handler)]
impl Tools {
    #[allow(clippy::unused_self, reason = "the tools of a server are methods")]
    #[tool(description = "Says who is signed in")]
    async fn whoami(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        Ok(claims(&request)?.sub.to_string())
    }

    #[tool(description = "Signs the user out of this server")]
    async fn sign_out(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        let denied = self.trust.deny(&claims(&request)?).await;
        denied.map_err(|_| ErrorData::internal_error("the sign-out cannot be promised; try again", None))?;
        Ok("signed out".to_owned())
    }
}

/// Returns the server at `origin`, which takes tokens of `issuer`.
pub(crate) fn app(issuer: &str, origin: &str) -> Result<Router, Box<dyn std::error::Error + Send + Sync>> {
    let resource = format!("{origin}/mcp");
    let issuer = Issuer::discover(issuer).audience(&resource);
    let trust = Trust::builder(MemoryStore::new()).issuer(issuer).build()?;

    let document = ProtectedResourceMetadata::of_servers(resource, trust.issuers()).scopes(&"profile".parse()?);
    let url = ResourceMetadata::new(&format!("{origin}{}", document.path()))?;
    let layer = AuthLayer::builder(&trust).scope("profile").resource_metadata(url).build();

    // No sessions of MCP and no streams: each request brings its own token, and is checked.
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let tools = move || Ok(Tools { trust: trust.clone() });
    let mcp = StreamableHttpService::new(tools, NeverSessionManager::default().into(), config);
    Ok(Router::new().route_service("/mcp", mcp).route_layer(layer).route_service(&document.path(), document.service()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let issuer = std::env::args().nth(1).ok_or("name the URL of an authorization server")?;
    let listener = TcpListener::bind("127.0.0.1:4000").await?;
    Ok(axum::serve(listener, app(&issuer, "http://127.0.0.1:4000")?).await?)
}
