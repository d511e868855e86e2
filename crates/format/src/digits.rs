//! Digests as text. One digest has one text: upper case, padding and more bits than a digest has are refused.

use data_encoding::{BASE32_NOPAD, HEXLOWER};

/// Base 16 in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Undoes [`hex`]; none for any other text.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Base 32 (RFC 4648, section 6) in lower case, without padding: 52 digits.
pub(crate) fn base32(bytes: &[u8; 32]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// Undoes [`base32`]; none for any other text.
pub(crate) fn unbase32(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_32_is_that_of_rfc_4648() {
        // Section 10: "foobar" is MZXW6YTBOI.
        let mut bytes = [0; 32];
        bytes[..6].copy_from_slice(b"foobar");
        assert!(base32(&bytes).starts_with("mzxw6ytboi"));
        let text = base32(&[0xff; 32]);
        assert_eq!(text, format!("{}q", "7".repeat(51)));
        assert_eq!(unbase32(&text), Some([0xff; 32]));
        assert_eq!(unbase32(&"7".repeat(52)), None, "more bits than a digest has");
        assert_eq!(unbase32(&text.to_uppercase()), None);
    }

    #[test]
    fn one_digest_has_one_text() {
        let text = hex(&[0xab; 32]);
        assert_eq!(unhex(&text), Some([0xab; 32]));
        for bad in [text.to_uppercase(), text[1..].to_owned(), format!("{text}ab"), String::new()] {
            assert_eq!(unhex(&bad), None, "{bad}");
        }
    }
}
