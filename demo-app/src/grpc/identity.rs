//! `demo.v1.Identity`.

use tonic::{Request, Response, Status};

use super::pb::{WhoAmIRequest, WhoAmIResponse, identity_server};
use crate::state::Identity;

/// Answers from the claims of the token, so no user is read.
#[derive(Debug)]
pub(super) struct IdentityService;

#[tonic::async_trait]
impl identity_server::Identity for IdentityService {
    /// Serves the users of all clients, as the answer tells nothing that the token does not.
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let claims = auth_layer::grpc::claims(&request)?;
        // A token of `client_credentials` has no username.
        let user = claims.custom::<Identity>().map_err(|_| Status::permission_denied("The token is not a user's"))?;
        Ok(Response::new(WhoAmIResponse {
            user_id: claims.sub.to_string(),
            username: user.username.clone(),
            scopes: claims.scope.iter().map(str::to_owned).collect(),
        }))
    }
}
