//! Numbers of a tar, read as Go's archive/tar reads them (strconv.go), because the engines do: the same layer must not be two
//! trees.

/// A number of a header: GNU's base 256, which may be negative, or octal (`parseNumeric`). None if it is no number.
pub(super) fn of_header(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base_256(field),
        _ => octal(field),
    }
}

/// An octal number, with spaces and NULs around it; 0 if there is nothing else (`parseOctal`).
pub(super) fn octal(field: &[u8]) -> Option<i64> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(begin) = field.iter().position(|byte| !is_padding(byte)) else { return Some(0) };
    let end = field.iter().rposition(|byte| !is_padding(byte))? + 1;
    let digits = text(&field[begin..end]);
    let mut number = 0_i64;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        number = number.checked_mul(8)?.checked_add(digit.into())?;
    }
    Some(number)
}

/// A decimal number of a pax record or of the map of a sparse file, perhaps with a sign (`strconv.ParseInt`).
pub(super) fn decimal(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a field has before its first NUL (`parseString`).
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The bits behind the first one are a number in two's complement.
fn base_256(field: &[u8]) -> Option<i64> {
    let is_negative = field.first()? & 0x40 != 0;
    let mut bits = 0_u64;
    for (n, byte) in field.iter().enumerate() {
        let byte = if is_negative { !byte } else { *byte };
        if bits >> 56 > 0 {
            return None;
        }
        bits = bits << 8 | u64::from(if n == 0 { byte & 0x7f } else { byte });
    }
    let number = i64::try_from(bits).ok()?;
    Some(if is_negative { !number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of Go's strconv_test.go.
    #[test]
    fn numbers_are_those_of_go() {
        let cases: [(&[u8], Option<i64>); 30] = [
            (b"", Some(0)),
            (b"\x80", Some(0)),
            (b"\x80\x00", Some(0)),
            (b"\x80\x00\x00", Some(0)),
            (b"\xbf", Some((1 << 6) - 1)),
            (b"\xbf\xff", Some((1 << 14) - 1)),
            (b"\xbf\xff\xff", Some((1 << 22) - 1)),
            (b"\xff", Some(-1)),
            (b"\xff\xff", Some(-1)),
            (b"\xff\xff\xff", Some(-1)),
            (b"\xc0", Some(-(1 << 6))),
            (b"\xc0\x00", Some(-(1 << 14))),
            (b"\xc0\x00\x00", Some(-(1 << 22))),
            (b"\x87\x76\xa2\x22\xeb\x8a\x72\x61", Some(537_795_476_381_659_745)),
            (b"\x80\x00\x00\x00\x07\x76\xa2\x22\xeb\x8a\x72\x61", Some(537_795_476_381_659_745)),
            (b"\xf7\x76\xa2\x22\xeb\x8a\x72\x61", Some(-615_126_028_225_187_231)),
            (b"\xff\xff\xff\xff\xf7\x76\xa2\x22\xeb\x8a\x72\x61", Some(-615_126_028_225_187_231)),
            (b"\x80\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\x80\x00\x00\x00\x00\x00\x00\x00", None),
            (b"\xff\x80\x00\x00\x00\x00\x00\x00\x00", Some(i64::MIN)),
            (b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xf5\xec\xd1\xc7\x7e\x5f\x26\x48\x81\x9f\x8f\x9b", None),
            (b"0000000\x00", Some(0)),
            (b" \x0000001\x00", Some(1)),
            (b" 0000123 \x00", Some(0o123)),
            (b"00000000227\x00", Some(0o227)),
            (b"032033\x00 ", Some(0o32033)),
            (b"12\x00junk", Some(0o12)),
            (b"+123\x00", None),
            (b"0123456789abcdef", None),
        ];
        for (field, number) in cases {
            assert_eq!(of_header(field), number, "{}", field.escape_ascii());
        }
        for (digits, number) in [
            (&b"+5"[..], Some(5)),
            (b"-5", Some(-5)),
            (b"0009", Some(9)),
            (b"9223372036854775808", None),
            (b"", None),
            (b" 5", None),
            (b"5_0", None),
        ] {
            assert_eq!(decimal(digits), number, "{}", digits.escape_ascii());
        }
    }
}
