//! The names of the claims that this crate reads or keeps for itself.

/// The claims that are read from a payload before the signature is verified.
pub(super) const READ: [&str; 13] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid", "scope", "auth_time", "acr", "amr"];

/// The names that custom claims may not take.
pub(super) const REGISTERED: [&str; 14] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid", "scope", "auth_time", "acr", "amr", "cnf"];
