//! JWT authentication for tower services that can be revoked.

pub mod authority;
pub mod cache;
pub mod claims;
pub mod clock;
pub mod id;
pub mod keys;
pub mod store;

pub use claims::{ClaimSet, Claims, CustomClaims, NoCustomClaims, Scope};
pub use id::{SessionId, TokenId, UserId};
