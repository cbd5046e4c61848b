//! The examples of RFC 9449.

use super::*;

/// The `jkt` of §6.1. All examples have one key.
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// The access token of §7.1.
const ACCESS_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

const HEADER: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo\
    UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNy\
    diI6IlAtMjU2In19";

/// The proof of a token request (§4.1, §5).
const TOKEN_REQUEST: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1w\
    bGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJ\
    K70nfbV37xRZT3Lg";

/// The proof of a refresh (§5).
const REFRESH: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29\
    tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mS\
    RroapUA";

/// The proof of a request to a resource (§7.1).
const RESOURCE: &str = "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm\
    9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzb\
    VFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

#[test]
fn dpop_rfc_9449_token_requests_verify_with_their_thumbprint() {
    let origin: Origin = "https://server.example.com".parse().unwrap();
    for (rest, iat) in [(TOKEN_REQUEST, 1_562_262_616), (REFRESH, 1_562_265_296)] {
        let text = format!("{HEADER}.{rest}");
        let proof = ProofCheck::new(&Method::POST, &origin, "/token", at(iat)).verify(&text).unwrap();
        assert_eq!(proof.thumbprint().to_string(), JKT);
    }
}

#[test]
fn dpop_rfc_9449_resource_request_verifies_with_its_token_and_key() {
    let origin: Origin = "https://resource.example.org".parse().unwrap();
    let text = format!("{HEADER}.{RESOURCE}");
    let check = ProofCheck::new(&Method::GET, &origin, "/protectedresource", at(1_562_262_618));
    let bound = check.access_token(ACCESS_TOKEN).bound_to(JKT.parse().unwrap());
    assert_eq!(bound.verify(&text).unwrap().thumbprint().to_string(), JKT);
    assert_eq!(fault(check.access_token("another").verify(&text)), Some(ProofFault::AccessToken));

    let other = verify_payload(&payload()).unwrap().thumbprint();
    assert_eq!(fault(check.bound_to(other).verify(&text)), Some(ProofFault::Binding));
}
