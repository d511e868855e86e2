//! Types that serde reads and writes as text, through their own parser and printer.

/// Implements what `#[serde(try_from = "String", into = "String")]` needs, by `FromStr` and `Display` of the type. So no value
/// comes from a file that the parser would refuse.
#[macro_export]
macro_rules! text_form {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = <Self as std::str::FromStr>::Err;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
