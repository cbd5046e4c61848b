//! What a token says.

mod json;
mod scope;
mod set;

pub(crate) use json::{Datum, fields, members};
pub use scope::{ParseScopeError, Scope};
pub use set::{ClaimSet, Claims, CustomClaims, CustomClaimsError, NoCustomClaims};
pub(crate) use set::{Payload, RegisteredClaims, custom_text};
