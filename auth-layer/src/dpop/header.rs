use http::{HeaderMap, HeaderName};

use super::ProofFault;

/// The header that carries a proof (RFC 9449 §4.1).
pub const PROOF_HEADER: HeaderName = HeaderName::from_static("dpop");

/// The header that carries a nonce to the client (RFC 9449 §8).
pub const NONCE_HEADER: HeaderName = HeaderName::from_static("dpop-nonce");

/// Returns the text of a request's proof; `None` if it has none.
///
/// # Errors
///
/// [`ProofFault::Several`] if there is more than one `DPoP` header. [`ProofFault::Malformed`] if it
/// is not ASCII.
///
/// ```
/// use auth_layer::dpop::{ProofFault, proof_header};
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(proof_header(&headers), Ok(None));
/// headers.append("DPoP", "e30.e30.AA".parse()?);
/// assert_eq!(proof_header(&headers), Ok(Some("e30.e30.AA")));
/// headers.append("DPoP", "e30.e30.AA".parse()?);
/// assert_eq!(proof_header(&headers), Err(ProofFault::Several));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn proof_header(headers: &HeaderMap) -> Result<Option<&str>, ProofFault> {
    let mut values = headers.get_all(PROOF_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    //= RFC 9449 §4.3
    if values.next().is_some() {
        return Err(ProofFault::Several);
    }
    value.to_str().map(Some).map_err(|_| ProofFault::Malformed)
}
