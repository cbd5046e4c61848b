//! A tonic service with one rule for each method:
//! `cargo run -p auth-layer --example tonic_service`.
//!
//! It serves the standard health protocol, so any gRPC client can call it. `Check` is open to all,
//! `Watch` needs a token with the scope `health:watch`. The example prints a token.

use auth_layer::{
    AuthLayer, Authority, Demand, Grant, grpc,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use tokio::net::TcpListener;
use tokio_stream::{Once, once, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

struct Service;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    type WatchStream = Once<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let _claims = grpc::demand(&request, &Demand::new().scope("health:watch"))?;
        Ok(Response::new(once(Ok(serving()))))
    }
}

pub(crate) fn authority() -> Result<Authority, Box<dyn std::error::Error + Send + Sync>> {
    let keys = Keyring::new(SigningKey::generate()?);
    Ok(Authority::builder("https://auth.example", MemoryStore::new()).audience("health").keys(keys).build()?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, authority: &Authority) -> Result<(), tonic::transport::Error> {
    let layer = AuthLayer::builder(authority).except(|head| head.uri.path() == "/grpc.health.v1.Health/Check").build();
    let server = Server::builder().layer(layer).add_service(HealthServer::new(Service));
    server.serve_with_incoming(TcpListenerStream::new(listener)).await
}

#[expect(clippy::print_stdout, reason = "the user needs a token")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let authority = authority()?;
    let grant = Grant::new("cli").scope("health:watch".parse()?);
    let pair = authority.sign_in(authority.begin_sign_in("ada".parse::<auth_layer::Subject>()?).await?, grant).await?;
    println!("listening on 127.0.0.1:3000; a token: {}", pair.access_token);
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, &authority).await?)
}
