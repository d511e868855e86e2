//! The names and uuids of a pool and its volumes in the kernel. Only this file builds them.
//!
//! The dm device of a pool `p` is `sharedroot-p`, and that of its volume `v` is `sharedroot-p-v`. All uuids begin with
//! `SHAREDROOT-`, so one udev rule (`ENV{DM_UUID}=="SHAREDROOT-*"`) keeps udev from scanning these devices.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sharedroot_format::{NameError, PoolName, VolumeName};

/// The thin id of a volume: its number inside its pool, of 24 bits (`MAX_DEV_ID` in dm-thin-metadata).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThinId(u32);

impl ThinId {
    /// The largest id.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// `None` if `id` has more than 24 bits.
    pub const fn new(id: u32) -> Option<Self> {
        if id <= Self::MAX.0 { Some(Self(id)) } else { None }
    }

    /// The id as a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ThinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a thin pool of LVM: `VG/LV`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LvmPool {
    group: Box<str>,
    volume: Box<str>,
}

impl LvmPool {
    /// The dm name that LVM gives the pool: VG and LV with doubled hyphens, joined by one hyphen (lvm(8), `dm_build_dm_name`).
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

/// The hash FNV-1a of the concatenated texts. The hash must never change, because it is part of uuids and lock offsets.
pub(crate) fn fnv1a(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The name and the uuid of a dm device of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DmIdentity {
    /// The name below `/dev/mapper`.
    pub(crate) name: String,
    /// The uuid. A volume's uuid contains a hash of its pool's uuid, and its thin id. So it differs from the uuid of a stale
    /// device with the same name, and from that of a device of another store's pool.
    pub(crate) uuid: String,
}

impl DmIdentity {
    /// The identity of a new pool's device. The tag makes it differ from a pool of the same name in another store.
    pub(crate) fn new_pool(pool: &PoolName, tag: &str) -> Self {
        Self { name: Self::pool_device(pool), uuid: format!("SHAREDROOT-{pool}-pool-{tag}") }
    }

    /// The name of a pool's device, unless LVM made the pool.
    pub(crate) fn pool_device(pool: &PoolName) -> String {
        format!("sharedroot-{pool}")
    }

    /// The identity of a volume's device. `pool_uuid` is the uuid of the pool's device.
    pub(crate) fn volume(
        pool: &PoolName,
        pool_uuid: &str,
        volume: &VolumeName,
        id: ThinId,
    ) -> Self {
        Self {
            name: pool.device_of(volume),
            uuid: format!("{}{id}", Self::volume_uuid_prefix(pool, pool_uuid)),
        }
    }

    /// The first part of the uuids of a pool's volumes.
    fn volume_uuid_prefix(pool: &PoolName, pool_uuid: &str) -> String {
        format!("SHAREDROOT-{pool}-{:08x}-", fnv1a(&[pool_uuid]) as u32)
    }

    /// The volume whose device is called `name`; `None` if that is not the name of a volume of the pool.
    pub(crate) fn volume_of(pool: &PoolName, name: &str) -> Option<VolumeName> {
        name.strip_prefix("sharedroot-")?
            .strip_prefix(pool.as_ref())?
            .strip_prefix('-')?
            .parse()
            .ok()
    }

    /// The thin id in a volume's uuid; `None` if the volume is not in the pool whose device has the uuid `pool_uuid`.
    pub(crate) fn id_of(pool: &PoolName, pool_uuid: &str, uuid: &str) -> Option<ThinId> {
        ThinId::new(uuid.strip_prefix(&Self::volume_uuid_prefix(pool, pool_uuid))?.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_names_fit_the_kernel() {
        let pool: PoolName = "p".repeat(32).parse().expect("a pool name");
        let volume: VolumeName = "v".repeat(80).parse().expect("a volume name");
        let identity = DmIdentity::volume(&pool, "any", &volume, ThinId::MAX);
        assert!(identity.name.len() < 128 && identity.uuid.len() < 129, "{identity:?}");
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
            let identity = DmIdentity::volume(&pool, &of, &volume, id);
            prop_assert_eq!(DmIdentity::volume_of(&pool, &identity.name), Some(volume));
            prop_assert_eq!(DmIdentity::id_of(&pool, &of, &identity.uuid), Some(id));
            prop_assert_eq!(DmIdentity::id_of(&pool, &format!("{of}x"), &identity.uuid), None);
        }
    }
}
