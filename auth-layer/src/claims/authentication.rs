//! How the user signed in, and the key that the tokens are bound to.

use serde::{Deserialize, Serialize};

use super::{confirmation::Confirmation, set::ClaimSet};
use crate::json::join_objects;

/// The claims of an access token that say how the user signed in (RFC 9068 §2.2.1), and with which
/// key (RFC 9449 §6.1).
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
}

impl Authentication {
    /// Reads them from the members of a JSON object.
    pub(crate) fn from_json(members: &str) -> Self {
        serde_json::from_str(members).unwrap_or_default()
    }

    /// Whether the members of a JSON object can be read.
    pub(crate) fn is_readable(members: &str) -> bool {
        serde_json::from_str::<Self>(members).is_ok()
    }

    /// Splits the text that [`to_json_with`](Self::to_json_with) made; `None` for another text.
    ///
    /// The custom claims come out byte for byte, numbers included.
    pub(crate) fn split(members: &str) -> Option<(Self, String)> {
        let authentication = Self::from_json(members);
        let own = authentication.to_json();
        if own == "{}" {
            return Some((authentication, members.to_owned()));
        }
        let custom = members.strip_prefix(own.strip_suffix('}')?)?;
        let custom = if custom == "}" { "{}".to_owned() } else { format!("{{{}", custom.strip_prefix(',')?) };
        Some((authentication, custom))
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers in a struct always serialise")
    }

    /// Returns the text of a JSON object with these and the members of `custom`.
    ///
    /// `custom` is a JSON object without them.
    pub(crate) fn to_json_with(&self, custom: &str) -> String {
        join_objects(self.to_json(), custom)
    }
}

impl From<&ClaimSet> for Authentication {
    fn from(claims: &ClaimSet) -> Self {
        Self {
            auth_time: claims.auth_time.map(|at| at.timestamp()),
            acr: claims.acr.clone(),
            amr: claims.amr.clone(),
            cnf: claims.cnf,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Authentication {
        let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse().unwrap();
        Authentication { auth_time: Some(7), cnf: Some(Confirmation::new(jkt)), ..Authentication::default() }
    }

    #[test]
    fn authentication_is_read_back_from_beside_custom_claims() {
        for authentication in [
            Authentication::default(),
            Authentication { auth_time: Some(7), ..Authentication::default() },
            Authentication { acr: Some("2".into()), amr: vec!["pwd".into(), "otp".into()], ..bound() },
            bound(),
        ] {
            for custom in ["{}", r#"{"tenant":7}"#, r#"{"b":0.10,"a":{"cnf":{"jkt":""}},"n":123456789012345678901234}"#]
            {
                let text = authentication.to_json_with(custom);
                assert_eq!(Authentication::from_json(&text), authentication, "{text}");
                assert_eq!(Authentication::split(&text), Some((authentication.clone(), custom.to_owned())), "{text}");
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
