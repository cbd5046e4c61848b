//! The endpoints of the OAuth 2.0 server.

pub(crate) mod authorize;
mod client;
mod error;
mod form_token;
pub(crate) mod introspect;
pub(crate) mod revoke;
pub(crate) mod token;
pub(crate) mod well_known;

pub(crate) use self::form_token::FormCookie;
