//! Authorization requests and their responses (RFC 6749 §4.1.1 and §4.1.2).

mod error;
mod query;
mod request;
mod response;

pub use self::{
    error::{AuthorizationError, AuthorizationErrorKind, PageError},
    query::AuthorizationQuery,
    request::AuthorizationRequest,
    response::AuthorizationResponse,
};
