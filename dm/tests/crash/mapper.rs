//! device-mapper's devices by their ioctls: a `dmsetup` takes a hundred times as long in a guest, and these tests would run
//! thousands.

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions};

use crate::crash::site::Failed;

/// The names of all devices.
pub(crate) fn names() -> Result<Vec<String>, Failed> {
    let devices = DM::new()?.list_devices()?;
    Ok(devices.into_iter().map(|(name, ..)| name.to_string()).collect())
}

/// A device's name, UUID, flags and number of openers, and its table.
pub(crate) fn row(name: &str) -> Result<(String, String), Failed> {
    let (dm, id) = (DM::new()?, DevId::Name(DmName::new(name)?));
    let found = dm.device_info(&id)?;
    let uuid = found.uuid().map_or(String::new(), ToString::to_string);
    let row = format!("{name}:{uuid}:{:?}:{}", found.flags(), found.open_count());
    let (_, table) =
        dm.table_status(&id, DmOptions::default().set_flags(DmFlags::DM_STATUS_TABLE))?;
    let lines =
        table.iter().map(|(start, length, kind, rest)| format!("{start} {length} {kind} {rest}"));
    Ok((row, lines.collect::<Vec<_>>().join("\n")))
}

/// Removes a device, which may be suspended: who opens a suspended device waits for ever, so it is resumed first.
pub(crate) fn remove(name: &str) -> Result<(), Failed> {
    let (dm, id) = (DM::new()?, DevId::Name(DmName::new(name)?));
    let _ = dm.device_suspend(&id, DmOptions::private());
    dm.device_remove(&id, DmOptions::private())?;
    Ok(())
}
