//! Types that serde reads and writes as text.

/// What `#[serde(try_from = "String", into = "String")]` takes: both go through the parser and the printer of the type.
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
