//! `image list`: the bases and who uses them.

use serde_json::{Value, json};
use sharedroot_dm::{Bytes, Phase};

use super::Base;
use crate::lifecycle::LifecycleError;
use crate::output::say;
use crate::rootfs::Storage;

/// Prints every base: its key, names, size, state and containers.
///
/// # Errors
/// [`LifecycleError`].
pub fn list(storage: &Storage, as_json: bool) -> Result<(), LifecycleError> {
    let bases = super::bases(storage)?;
    if as_json {
        let list = bases.iter().map(|base| json(storage, base)).collect();
        say!("{:#}", Value::Array(list));
        return Ok(());
    }
    say!(
        "{:<14}{:<10}{:<11}{:<11}{:<8}{:<9}NAME",
        "BASE",
        "SIZE",
        "USED",
        "STATE",
        "SHARED",
        "PRIVATE"
    );
    for base in &bases {
        let state = match (base.volume.phase == Phase::Ready, base.mounted) {
            (true, true) => "mounted",
            (true, false) => "ready",
            (false, _) => "unfinished",
        };
        let [short, size] = [base.key.short(), base.volume.size.to_string()];
        let used = base.used.map_or("-".to_owned(), |used| Bytes(used).to_string());
        let [shared, private] = [base.shared.len(), base.private.len()];
        let names = base.names.join(", ");
        let line =
            format!("{short:<14}{size:<10}{used:<11}{state:<11}{shared:<8}{private:<9}{names}");
        say!("{}", line.trim_end());
    }
    Ok(())
}

/// One base for programs.
pub(super) fn json(storage: &Storage, base: &Base) -> Value {
    json!({
        "key": base.key.to_string(),
        "names": base.names,
        "volume": base.volume.name.to_string(),
        "size_bytes": base.volume.size.0,
        // Known of a mounted base without activating it.
        "used_bytes": base.used,
        "ready": base.volume.phase == Phase::Ready,
        "mounted": base.mounted,
        "mount_point": storage.base_mount(&base.key),
        "shared_by": base.shared,
        "snapshots_of": base.private,
    })
}
