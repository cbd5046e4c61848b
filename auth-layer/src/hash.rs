//! SHA-256 hashes, and secrets for hashes that stay in this process.

use aws_lc_rs::{
    digest::{Context, SHA256},
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Returns the SHA-256 of these parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Generates a secret for `HighwayHash`. Without it nobody can construct two texts of one hash.
/// `None` without randomness.
pub(crate) fn highway_secret() -> Option<highway::Key> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    let (words, _) = bytes.as_chunks();
    Some(highway::Key(std::array::from_fn(|word| u64::from_ne_bytes(words[word]))))
}

/// Decodes 32 bytes of canonical base64url without padding.
pub(crate) fn bytes_32(text: &str) -> Option<[u8; 32]> {
    // Checked first: nothing is decoded that is too long.
    if text.len() != 43 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
