//! The names of the claims that this crate reads or keeps for itself.

/// The claims that are read from a payload before the signature is verified.
///
/// Custom claims may not take them.
pub(super) const READ: [&str; 14] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid", "scope", "auth_time", "acr", "amr", "cnf"];
