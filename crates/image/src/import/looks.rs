//! How often the layers of an image may be looked into.

use std::io;

/// How often the layers of an image may be looked into, for a name in a directory of one layer. Each look takes some 5 µs.
pub(super) const MOST_LOOKS: u64 = 1 << 24;

/// How many links the kernel follows on one path (fs/namei.c, `MAXSYMLINKS`).
const MOST_LINKS: u64 = 40;

/// How many components of links' targets the kernel resolves in the time of a look. A path through 39 links, whose targets of
/// 4,080 bytes are `a/../` and so on, has 63,000 components and takes 2.4 ms.
const COMPONENTS_OF_A_LOOK: u64 = 128;

/// The layers of the image have been looked into too often.
#[derive(Debug, thiserror::Error)]
#[error(
    "the whiteouts, links and directories of the image take more than {most} looks into its layers"
)]
struct TooManyLooks {
    most: u64,
}

/// The looks that are left.
#[derive(Debug)]
pub(super) struct Looks {
    most: u64,
    pub(super) done: u64,
    /// The components of the longest target of a symbolic link, of all layers.
    longest_target: u64,
}

impl Looks {
    pub(super) fn bounded(most: u64) -> Self {
        Self { most, done: 0, longest_target: 0 }
    }

    /// Counts so many looks into a layer.
    ///
    /// # Errors
    /// The image takes more than [`MOST_LOOKS`].
    pub(super) fn take(&mut self, looks: u64) -> io::Result<()> {
        self.done = self.done.saturating_add(looks);
        if self.done > self.most {
            return Err(io::Error::other(TooManyLooks { most: self.most }));
        }
        Ok(())
    }

    /// Notes the target of a symbolic link of a layer.
    pub(super) fn note_target(&mut self, target: &[u8]) {
        let components = target.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        self.longest_target = self.longest_target.max(components.count() as u64);
    }

    /// Counts a path that symbolic links lead on. Nobody knows how many links these are: the kernel follows them. So this counts
    /// as many as the kernel follows at most, each with the longest target: 5 looks in a usual image, 640 at most.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn take_links(&mut self) -> io::Result<()> {
        self.take(1 + (MOST_LINKS * self.longest_target).div_ceil(COMPONENTS_OF_A_LOOK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_links_counts_by_the_longest_target() {
        let mut looks = Looks::bounded(600);
        looks.note_target(b"../../usr/lib");
        looks.note_target(b"/usr//");
        looks.take_links().unwrap();
        assert_eq!(looks.done, 1 + 2);
        looks.note_target("a/../".repeat(816).as_bytes());
        looks.take_links().unwrap();
        assert_eq!(looks.done, 3 + 1 + 510);
        let error = looks.take_links().unwrap_err();
        assert!(error.to_string().contains("more than 600 looks"), "{error}");
    }
}
