//! The digest of some content, and a reader that computes it.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digits::{hex, unhex};
use crate::text_form;

/// The text is no digest that this program can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest that can be checked (sha256: and 64 lower-case hexadecimal digits)")]
pub struct DigestError(String);

/// The SHA-256 of some content. As text: `sha256:` and 64 hexadecimal digits in lower case (image-spec, descriptor.md,
/// "Digests").
///
/// The image-spec also registers sha512, but no engine uses it for its images.
///
/// ```
/// use sharedroot_format::Digest;
///
/// let digest = Digest::of(b"content");
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// assert!("sha512:00".parse::<Digest>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub(crate) [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits, without the name of the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl From<Sha256> for Digest {
    fn from(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.strip_prefix("sha256:")
            .and_then(unhex)
            .map(Self)
            .ok_or_else(|| DigestError(text.chars().take(100).collect()))
    }
}

text_form!(Digest);

/// A reader that computes the digest of what is read through it.
#[derive(Debug)]
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    /// Wraps `inner`. Nothing is hashed yet.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// Reads the rest of `inner`. Returns it with the digest of everything that was read.
    ///
    /// # Errors
    /// The error of reading.
    pub fn finish(mut self) -> io::Result<(R, Digest)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.inner, self.hash.into()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}
