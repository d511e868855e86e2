//! How many bytes the layers of an image may have.
//!
//! The layers of an archive of a few kilobytes may have terabytes that no file of the image has: zeros behind the end of a tar,
//! or files that later entries replace.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};

/// How many bytes all layers of an image may have together, and how many of them are left.
#[derive(Debug)]
pub(super) struct Amount {
    left: Cell<u64>,
    exceeded: Cell<bool>,
}

impl Amount {
    pub(super) fn of(most: u64) -> Self {
        Self { left: Cell::new(most), exceeded: Cell::new(false) }
    }

    /// Whether the layers had more, so that an error of reading says only this.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let left = self.left.get().checked_sub(bytes as u64);
        self.exceeded.set(left.is_none());
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| ErrorKind::FileTooLarge.into())
    }
}

/// A reader that fails at the first byte that the layers may not have.
pub(super) struct Metered<'a, R> {
    inner: R,
    amount: &'a Amount,
}

impl<'a, R> Metered<'a, R> {
    pub(super) fn new(inner: R, amount: &'a Amount) -> Self {
        Self { inner, amount }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.amount.take(n)?;
        Ok(n)
    }
}
