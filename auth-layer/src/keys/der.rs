//! As much of DER as it takes to say what a key is. The crypto library reads the key itself.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// The contents of the value that comes first, which must have this tag, and what follows it.
pub(super) fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    let (length, rest) = match *length {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (length, rest) =
                rest.split_at_checked(usize::from(long - 0x80)).filter(|(length, _)| length.len() <= 4)?;
            (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length).filter(|_| *first == tag)
}

/// The modulus in the DER of a PKCS #1 `RSAPrivateKey` (RFC 8017 §A.1.2): the second integer, after
/// the version.
pub(super) fn rsa_modulus(der: &[u8]) -> Option<&[u8]> {
    let (key, _) = value(der, SEQUENCE)?;
    let (_, rest) = value(key, INTEGER)?;
    value(rest, INTEGER).map(|(modulus, _)| modulus)
}
