//! JWT authentication for tower services that can be revoked.

pub mod authority;
mod bearer;
pub mod cache;
pub mod claims;
pub mod clock;
#[cfg(feature = "axum")]
pub mod extract;
pub mod id;
mod jwt;
pub mod keys;
pub mod middleware;
pub mod rejection;
pub mod store;

pub use authority::{
    AuthError, Authority, Grant, GrantFault, IssuedPair, IssuedToken, RefreshError, SignIn, SignInError,
};
pub use bearer::BearerError;
pub use claims::{ClaimSet, Claims, CustomClaims, NoCustomClaims, Scope};
pub use id::{SessionId, TokenId, UserId};
pub use jwt::TokenFault;
pub use middleware::AuthLayer;
