//! A quoted text in Go's syntax, with `/` and `|` as quotes, too (containerd, `pkg/filters/quote.go`).

/// What a quoted text means: bytes, because `\xff` is one. `None` if the text is not in Go's syntax.
pub(super) fn unquote(text: &str) -> Option<Vec<u8>> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '/' | '|'))?;
    let inner = text.get(1..)?.strip_suffix(quote)?;
    let mut rest = inner.chars();
    let mut bytes = Vec::with_capacity(inner.len());
    while let Some(next) = rest.next() {
        match next {
            '\n' => return None,
            next if next == quote => return None,
            '\\' => escaped(&mut rest, quote, &mut bytes)?,
            next => push(&mut bytes, next),
        }
    }
    Some(bytes)
}

fn escaped(rest: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let byte = match rest.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        next if next == quote => u8::try_from(quote).ok()?,
        'x' => u8::try_from(number(rest, 0, 16, 2)?).ok()?,
        first @ '0'..='7' => u8::try_from(number(rest, first.to_digit(8)?, 8, 2)?).ok()?,
        size @ ('u' | 'U') => {
            let digits = if size == 'u' { 4 } else { 8 };
            let number = number(rest, 0, 16, digits)?;
            // Go writes the replacement character for half of a surrogate pair.
            let is_a_rune = number <= u32::from(char::MAX);
            let rune = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
            return is_a_rune.then(|| push(bytes, rune));
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn number(rest: &mut std::str::Chars<'_>, first: u32, base: u32, digits: usize) -> Option<u32> {
    (0..digits).try_fold(first, |number, _| {
        number.checked_mul(base)?.checked_add(rest.next()?.to_digit(base)?)
    })
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_in_gos_syntax() {
        for (text, wanted) in [
            (r#""""#, &b""[..]),
            (r#""a b""#, b"a b"),
            (r#""\\ and \"""#, br#"\ and ""#),
            (r"/[a]\//", b"[a]/"),
            (r"|a\|b|", b"a|b"),
            (r#""\x41\102\u00e9\U0001F600""#, "AB\u{e9}\u{1f600}".as_bytes()),
            (r#""\xff\377""#, b"\xff\xff"),
            (r#""\ud800""#, "\u{fffd}".as_bytes()),
        ] {
            assert_eq!(unquote(text).as_deref(), Some(wanted), "{text}");
        }
        for wrong in
            ["", "\"", "a", "'a'", "`a`", r#""a"#, r#""a"b""#, r#""\q""#, r#""\x1g""#, r#""\400""#]
        {
            assert_eq!(unquote(wrong), None, "{wrong}");
        }
        assert_eq!(unquote(r#""\U00110000""#), None, "beyond Unicode");
        assert_eq!(unquote("\"a\nb\""), None);
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in any::<String>(), quote in prop::sample::select(vec!['"', '/', '|'])) {
            let escaped: String = text.chars().flat_map(|c| match c {
                '\n' => vec!['\\', 'n'],
                '\\' => vec!['\\', '\\'],
                c if c == quote => vec!['\\', c],
                c => vec![c],
            }).collect();
            let quoted = format!("{quote}{escaped}{quote}");
            prop_assert_eq!(unquote(&quoted), Some(text.into_bytes()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[\"/|]?[\\\\0-9a-fuUx\"/|]{0,12}[\"/|]?") {
            let _ = unquote(&text);
        }
    }
}
