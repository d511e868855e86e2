//! Every name that reaches the kernel is built here and nowhere else.
//!
//! A pool `p` is the dm device `sharedroot-p`, its volume `v` is `sharedroot-p-v`. The uuids begin with `SHAREDROOT-`, so
//! one udev rule can match all of them (`ENV{DM_UUID}=="SHAREDROOT-*"`) and leave them unscanned.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest pool name. With [`VOLUME_MAX`] the dm name stays below the kernel's `DM_NAME_LEN` of 128 bytes:
/// 11 + 32 + 1 + 80.
const POOL_MAX: usize = 32;
/// Longest volume name: a 64-digit hash or container ID and a prefix. Who makes names of longer parts shortens them
/// first; the shim's `rootfs/base_name.rs` has a test for every one of its names.
const VOLUME_MAX: usize = 80;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("the {kind} name is empty")]
    Empty {
        /// `pool` or `volume`.
        kind: &'static str,
    },
    /// The text is longer than a dm name has room for.
    #[error("the {kind} name {text:?} has {} bytes, and {max} is the most", text.len())]
    Long {
        /// `pool` or `volume`.
        kind: &'static str,
        /// The rejected text.
        text: String,
        /// The most bytes a name may have.
        max: usize,
    },
    /// The text does not name a thin pool of LVM.
    #[error("{text:?} is no thin pool of LVM; write VG/LV, as `lvs` shows the names")]
    Lvm {
        /// The rejected text.
        text: String,
    },
    /// The text has a character that a name must not have.
    #[error("the {kind} name {text:?} may have {allowed} and must begin with a letter or digit")]
    Character {
        /// `pool` or `volume`.
        kind: &'static str,
        /// The rejected text.
        text: String,
        /// The allowed characters.
        allowed: &'static str,
    },
}

/// The name of a thin pool: 1 to 32 of `[a-z0-9._]`, the first a letter or digit.
///
/// No hyphen: it ends the pool's part of a volume's dm name, so that pool `a` with volume `b-c` and pool `a-b` with
/// volume `c` can never be one device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(Box<str>);

/// The name of a thin volume: 1 to 80 of `[a-z0-9._-]`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(Box<str>);

impl VolumeName {
    /// What a volume is called that was deleted while its device was in use.
    pub(crate) fn deferred(id: ThinId) -> Self {
        Self(format!("deleted.{id}").into())
    }
}

fn check(kind: &'static str, text: &str, max: usize, hyphen: bool) -> Result<Box<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > max {
        return Err(NameError::Long { kind, text: text.to_owned(), max });
    }
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = |c: u8| plain(c) || c == b'.' || c == b'_' || (hyphen && c == b'-');
    if !text.bytes().all(allowed) || !text.bytes().next().is_some_and(plain) {
        let allowed = if hyphen { "a-z, 0-9, '.', '_', '-'" } else { "a-z, 0-9, '.', '_'" };
        return Err(NameError::Character { kind, text: text.to_owned(), allowed });
    }
    Ok(text.into())
}

impl FromStr for PoolName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check("pool", text, POOL_MAX, false).map(Self)
    }
}

impl FromStr for VolumeName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check("volume", text, VOLUME_MAX, true).map(Self)
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for PoolName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for VolumeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The number of a thin volume inside its pool. dm-thin keeps 24 bits of it (`MAX_DEV_ID` in dm-thin-metadata).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThinId(u32);

impl ThinId {
    /// The largest id.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// `None` if `id` has more than 24 bits.
    pub const fn new(id: u32) -> Option<Self> {
        if id <= Self::MAX.0 { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ThinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PoolName {
    /// The device-mapper name of one of the pool's volumes while it is active, as in `/dev/mapper`: by it a mounted
    /// device is recognised without the store.
    #[must_use]
    pub fn device_of(&self, volume: &VolumeName) -> String {
        format!("sharedroot-{self}-{volume}")
    }
}

/// A thin pool of LVM: `VG/LV`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LvmPool {
    group: Box<str>,
    volume: Box<str>,
}

impl LvmPool {
    /// The dm name that LVM gives the pool: hyphens are doubled, and one joins the two names (lvm(8), `dm_build_dm_name`).
    pub(crate) fn dm_name(&self) -> String {
        format!("{}-{}", self.group.replace('-', "--"), self.volume.replace('-', "--"))
    }

    /// The pool's node below `/dev/mapper`.
    pub(crate) fn node(&self) -> PathBuf {
        Path::new("/dev/mapper").join(self.dm_name())
    }
}

impl FromStr for LvmPool {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // lvm(8), "VALID NAMES".
        let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
        let valid = |name: &str| {
            name.chars().all(plain) && !["", ".", ".."].contains(&name) && !name.starts_with('-')
        };
        match text.split_once('/') {
            Some((group, volume)) if valid(group) && valid(volume) && text.len() < 100 => {
                Ok(Self { group: group.into(), volume: volume.into() })
            }
            _ => Err(NameError::Lvm { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for LvmPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.volume)
    }
}

/// The hash FNV-1a of some texts, one after the other: the same on every machine and in every version.
pub(crate) fn fnv1a(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The name and uuid of one dm device of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DmLabel {
    /// The name below `/dev/mapper`.
    pub(crate) name: String,
    /// The uuid. A volume's carries its pool's identity and the thin id, so that a stale device of a reused name and a device
    /// of another store's pool are told apart.
    pub(crate) uuid: String,
}

impl DmLabel {
    /// The device of a new pool. The tag tells it from a pool of the same name in another store.
    pub(crate) fn new_pool(pool: &PoolName, tag: &str) -> Self {
        Self { name: Self::pool_device(pool), uuid: format!("SHAREDROOT-{pool}-pool-{tag}") }
    }

    /// The name of a pool's device, other than one of LVM's.
    pub(crate) fn pool_device(pool: &PoolName) -> String {
        format!("sharedroot-{pool}")
    }

    /// The device of a volume of the pool whose device has the uuid `of`.
    pub(crate) fn volume(pool: &PoolName, of: &str, volume: &VolumeName, id: ThinId) -> Self {
        Self { name: pool.device_of(volume), uuid: format!("{}{id}", Self::uuids(pool, of)) }
    }

    /// What the uuids of a pool's volumes begin with.
    fn uuids(pool: &PoolName, of: &str) -> String {
        format!("SHAREDROOT-{pool}-{:08x}-", fnv1a(&[of]) as u32)
    }

    /// The volume whose device is called `name`, if it is one of this pool.
    pub(crate) fn volume_of(pool: &PoolName, name: &str) -> Option<VolumeName> {
        name.strip_prefix("sharedroot-")?
            .strip_prefix(pool.as_ref())?
            .strip_prefix('-')?
            .parse()
            .ok()
    }

    /// The thin id in a volume's uuid, if it is one of the pool whose device has the uuid `of`.
    pub(crate) fn id_of(pool: &PoolName, of: &str, uuid: &str) -> Option<ThinId> {
        ThinId::new(uuid.strip_prefix(&Self::uuids(pool, of))?.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_must_not_be() {
        for text in ["", ".", "..", "-a", "a/b", "A", "a b", "a\n", "ä", &"a".repeat(33), "a-b"] {
            assert!(text.parse::<PoolName>().is_err(), "{text:?}");
        }
        for text in ["", "..", "-a", "a/b", "A", &"a".repeat(81)] {
            assert!(text.parse::<VolumeName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_names_fit_the_kernel() {
        let pool: PoolName = "p".repeat(POOL_MAX).parse().expect("a pool name");
        let volume: VolumeName = "v".repeat(VOLUME_MAX).parse().expect("a volume name");
        let label = DmLabel::volume(&pool, "any", &volume, ThinId::MAX);
        assert!(label.name.len() < 128 && label.uuid.len() < 129, "{label:?}");
    }

    #[test]
    fn lvm_doubles_hyphens() {
        let pool: LvmPool = "vg-a/thin.pool-1".parse().expect("a name");
        assert_eq!(pool.dm_name(), "vg--a-thin.pool--1");
        assert_eq!(pool.to_string(), "vg-a/thin.pool-1");
        for text in ["", "vg", "vg/", "/lv", "vg/../x", "vg/lv/x", "vg/-x", "vg/l v", "../x"] {
            assert!(text.parse::<LvmPool>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_hash_is_fnvs() {
        // Test vectors of the draft-eastlake-fnv, appendix C.
        assert_eq!(fnv1a(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(&["foo", "", "bar"]), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn ids_have_24_bits() {
        assert_eq!(ThinId::new(1 << 24), None);
        assert_eq!(ThinId::new((1 << 24) - 1), Some(ThinId::MAX));
    }

    proptest! {
        #[test]
        fn a_device_leads_back_to_its_volume(p in "[a-z0-9][a-z0-9._]{0,31}", v in "[a-z0-9][a-z0-9._-]{0,79}", id in 0u32..1 << 24, of in ".{0,99}") {
            let (pool, volume): (PoolName, VolumeName) = (p.parse()?, v.parse()?);
            prop_assert_eq!(pool.to_string(), p);
            prop_assert_eq!(volume.to_string(), v);
            let id = ThinId::new(id).expect("24 bits");
            let label = DmLabel::volume(&pool, &of, &volume, id);
            prop_assert_eq!(DmLabel::volume_of(&pool, &label.name), Some(volume));
            prop_assert_eq!(DmLabel::id_of(&pool, &of, &label.uuid), Some(id));
            prop_assert_eq!(DmLabel::id_of(&pool, &format!("{of}x"), &label.uuid), None);
        }

        #[test]
        fn any_text_is_a_name_or_an_error(text in ".{0,100}") {
            if let Ok(name) = text.parse::<VolumeName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
