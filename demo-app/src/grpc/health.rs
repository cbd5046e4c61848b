//! The standard health service, `grpc.health.v1.Health`.
//!
//! `tonic-health`'s own server is told each status. This one asks [`Readiness`] as `/readyz` does,
//! and only while somebody calls. All calls share one check a second.

use futures_util::{
    StreamExt,
    stream::{BoxStream, once, pending, unfold},
};
use tokio::time::sleep;
use tonic::{Request, Response, Status, server::NamedService};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use super::{IdentityServer, IdentityService};
use crate::readiness::{RESULT_TTL, Readiness};

/// Serves the health of the server, whose name is empty, and of `demo.v1.Identity`.
pub(super) struct HealthService {
    readiness: Readiness,
}

impl HealthService {
    pub(super) fn new(readiness: Readiness) -> Self {
        Self { readiness }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request) {
            return Err(Status::not_found("The service is unknown"));
        }
        Ok(Response::new(response(status(&self.readiness).await)))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    /// Sends the status, and again when it changes.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !is_known(&request) {
            // The protocol keeps the stream open: the service may become known.
            let unknown = once(async { Ok(response(ServingStatus::ServiceUnknown)) });
            return Ok(Response::new(unknown.chain(pending()).boxed()));
        }
        let changes = unfold((self.readiness.clone(), None), async |(readiness, sent)| {
            let changed = next_change(&readiness, sent).await;
            Some((Ok(response(changed)), (readiness, Some(changed))))
        });
        Ok(Response::new(changes.boxed()))
    }
}

fn is_known(request: &Request<HealthCheckRequest>) -> bool {
    let name = request.get_ref().service.as_str();
    name.is_empty() || name == IdentityServer::<IdentityService>::NAME
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

async fn status(readiness: &Readiness) -> ServingStatus {
    if readiness.store_is_up().await { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Waits for a status that differs from the one sent last.
async fn next_change(readiness: &Readiness, sent: Option<ServingStatus>) -> ServingStatus {
    loop {
        if sent.is_some() {
            sleep(RESULT_TTL).await;
        }
        let status = status(readiness).await;
        if sent != Some(status) {
            return status;
        }
    }
}
