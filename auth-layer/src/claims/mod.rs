//! The claims of a token.

mod audiences;
mod authentication;
mod confirmation;
mod custom;
mod denial_keys;
mod foreign;
mod logout;
mod names;
mod scope;
mod set;

pub(crate) use audiences::Audiences;
pub(crate) use authentication::Authentication;
pub use confirmation::Confirmation;
pub use custom::{CustomClaims, CustomClaimsError};
pub(crate) use custom::{CustomPayload, custom_json};
pub(crate) use denial_keys::{DenialKey, DenialKeys};
pub(crate) use foreign::{CLIENT_CLAIMS, ForeignClaims};
pub(crate) use logout::LogoutClaims;
pub use scope::{ParseScopeError, Scope};
pub use set::{ClaimSet, Claims};
pub(crate) use set::{RegisteredClaims, VerifiedSignature};
