//! Checks gRPC requests before tonic reads them.

use auth_layer::rejection::is_grpc;
use axum::{
    extract::{FromRequest, Request},
    middleware::Next,
    response::Response,
};
use prost::Message;

use crate::{body::RawBody, error::ApiError};

/// Refuses requests that are not gRPC's. tonic would answer them with HTTP 200.
pub(super) async fn grpc_only(request: Request, next: Next) -> Result<Response, ApiError> {
    if is_grpc(request.method(), request.version(), request.headers()) {
        Ok(next.run(request).await)
    } else {
        Err(ApiError::NotGrpc)
    }
}

/// Reads the one message of a call within the limits of size and time, and refuses what is not an
/// `M`. tonic would call that an internal error, although it is the client's.
pub(super) async fn one_message<M: Message + Default>(request: Request, next: Next) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let RawBody(bytes) = RawBody::from_request(Request::from_parts(head.clone(), body), &()).await?;
    if !is_one::<M>(&bytes) {
        return Err(ApiError::MalformedBody("The body is not one message of the method's type"));
    }
    Ok(next.run(Request::from_parts(head, bytes.into())).await)
}

/// Returns whether the bytes are one message: a flag, the length, and an encoded `M`.
fn is_one<M: Message + Default>(bytes: &[u8]) -> bool {
    let Some((&[flag, ref length @ ..], message)) = bytes.split_first_chunk::<5>() else { return false };
    match flag {
        0 => u32::try_from(message.len()) == Ok(u32::from_be_bytes(*length)) && M::decode(message).is_ok(),
        // Compressed. tonic refuses it with the code that gRPC demands.
        1 => true,
        _ => false,
    }
}
