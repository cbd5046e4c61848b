//! How the user signed in.

use serde::{Deserialize, Serialize};

use super::set::ClaimSet;
use crate::json::join_objects;

/// The claims of an access token that say how the user signed in (RFC 9068 §2.2.1).
///
/// They are stored and signed with the custom claims, as one JSON object. So a node of an older
/// version keeps them without knowing them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Authentication {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) amr: Vec<String>,
}

impl Authentication {
    /// Reads them from the members of a JSON object.
    pub(crate) fn from_json(members: &str) -> Self {
        serde_json::from_str(members).unwrap_or_default()
    }

    /// Returns the text of a JSON object with these and the members of `custom`.
    ///
    /// `custom` is a JSON object without them.
    pub(crate) fn to_json_with(&self, custom: &str) -> String {
        join_objects(serde_json::to_string(self).expect("texts and numbers in a struct always serialise"), custom)
    }
}

impl From<&ClaimSet> for Authentication {
    fn from(claims: &ClaimSet) -> Self {
        Self { auth_time: claims.auth_time.map(|at| at.timestamp()), acr: claims.acr.clone(), amr: claims.amr.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_is_read_back_from_beside_custom_claims() {
        for authentication in [
            Authentication::default(),
            Authentication { auth_time: Some(7), ..Authentication::default() },
            Authentication { auth_time: Some(7), acr: Some("2".into()), amr: vec!["pwd".into(), "otp".into()] },
        ] {
            for custom in ["{}", r#"{"tenant":7}"#] {
                let text = authentication.to_json_with(custom);
                assert_eq!(Authentication::from_json(&text), authentication, "{text}");
            }
        }
    }

    #[test]
    fn authentication_that_is_empty_leaves_the_custom_claims_as_they_are() {
        for custom in ["{}", r#"{"tenant":7}"#] {
            assert_eq!(Authentication::default().to_json_with(custom), custom);
        }
    }
}
