//! What can fail, and on what.
//!
//! A message says *what failed on what: why; what to do*. Where a function of this crate is what to do, [`Error::remedy`] names
//! that function, and the caller of this crate has the words. The source of an error is not in its message: print the chain.

use std::io;
use std::path::{Path, PathBuf};

use sharedroot_format::{PoolName, VolumeName};

use crate::kernel::KernelError;
use crate::names::ThinId;
use crate::status::{PoolMode, StatusError};
use crate::table::TableError;
use crate::tools::ToolError;
use crate::units::{Bytes, Percent};
use crate::users::Users;

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are the nouns of the message above them")]
pub enum Error {
    /// device-mapper cannot be used at all.
    #[error("cannot use device-mapper")]
    NoKernel { source: KernelError },
    /// The state directory or the run directory cannot be created or read.
    #[error("cannot use the directory {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// Somebody else than root can write the state directory or the run directory.
    #[error(
        "cannot use the directory {}: its owner is {uid} and its mode {mode:04o}, and who can write it decides what root mounts; chown it to root and chmod it to 0700",
        path.display()
    )]
    OpenDirectory { path: PathBuf, uid: u32, mode: u32 },
    /// A lock file cannot be created or locked.
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    /// The store cannot be read or written.
    #[error("cannot {action} the store {}", path.display())]
    Store { action: &'static str, path: PathBuf, source: rusqlite::Error },
    /// The store's file cannot be created.
    #[error("cannot create the store {}", path.display())]
    StoreFile { path: PathBuf, source: io::Error },
    /// A later version of this program wrote the store.
    #[error("cannot open the store {}: its schema is {found}, and this program knows the schemas up to {known}; install the version that wrote it", path.display())]
    NewerStore { path: PathBuf, found: i64, known: i64 },
    /// A row has a value that this program never writes.
    #[error("cannot read the store {}: {value:?} is no value of {column}; restore the store from a backup", path.display())]
    StoreValue { path: PathBuf, column: &'static str, value: String },

    /// There is no such pool, and this operation does not create one.
    #[error("there is no pool {name} in {}", state_dir.display())]
    NoPool { name: PoolName, state_dir: PathBuf },
    /// A pool of this name exists.
    #[error("the pool {name} exists already in {}", state_dir.display())]
    PoolExists { name: PoolName, state_dir: PathBuf },
    /// A dm device of the pool's name exists, but the store has no row of the pool.
    #[error(
        "cannot create the pool {name}: the device {device} and {volumes} volumes of a pool of that name are active, but the store in {} does not know that pool; restore the store, or remove the devices with `dmsetup remove`, the volumes' first",
        state_dir.display()
    )]
    UnknownPoolDevice { name: PoolName, device: String, volumes: usize, state_dir: PathBuf },
    /// Another device has the pool's dm name: one of another program, or a pool of another store.
    #[error(
        "cannot use the device {device}: its uuid is {uuid:?}, so it is not the pool {name} of this store; give this pool another name in the configuration, or remove the device with `dmsetup remove {device}`"
    )]
    ForeignDevice { name: PoolName, device: String, uuid: String },
    /// dm-thin takes no blocks of this size (thin-provisioning.rst, "data_block_size").
    #[error(
        "cannot create a pool with blocks of {block}: dm-thin does not take that size; give a multiple of 64 KiB up to 1 GiB"
    )]
    BlockSize { block: Bytes },
    /// The file system has no room for a new pool's loop file.
    #[error("cannot create a pool in {}: it may take {} of the {free} that are free, and needs {least}; make room there", path.display(), Percent::new(80).expect("80 is a percentage"))]
    NoRoom { path: PathBuf, free: Bytes, least: Bytes },
    /// A new pool's loop file exists already.
    #[error("cannot create the file {}: it exists, but the store does not know its pool; restore the store, or move the file away", path.display())]
    FileWithoutPool { path: PathBuf },
    /// A system call on a pool's file or device failed.
    #[error("cannot {action} {}", path.display())]
    Backing { action: &'static str, path: PathBuf, source: io::Error },
    /// The kernel has no free loop device, or no loop module.
    #[error("no loop device: {cause}; load the loop module (modprobe loop)")]
    NoLoop { cause: io::Error },
    /// The path is not a block device.
    #[error("{} is not a block device; give the path of one", path.display())]
    NotBlock { path: PathBuf },
    /// The device is mounted, or part of another device.
    #[error("cannot use {}: it is mounted, or part of another device; give a device that is not in use", path.display())]
    InUse { path: PathBuf, source: io::Error },
    /// The device contains data.
    #[error("{} already contains {found}", path.display())]
    Signature { path: PathBuf, found: &'static str },
    /// There is no thin-pool metadata where the store says.
    #[error("{} does not contain the metadata of a thin pool; perhaps the device has another name now, or the file was replaced: put the right one back", path.display())]
    NotMetadata { path: PathBuf },
    /// The data device and the metadata device are the same device.
    #[error("{} cannot hold both the data and the metadata of a pool; give two devices", path.display())]
    OneDevice { path: PathBuf },
    /// The metadata is not the metadata of this pool.
    #[error("{} contains the metadata of another pool: {found}; perhaps devices were swapped, a file was replaced, or the store is a copy from before the pool grew: put the right one back", path.display())]
    ForeignMetadata { path: PathBuf, found: String },
    /// A file or device is smaller than what the pool uses of it.
    #[error("{} is too small: it has {size}, and the pool uses {recorded}; perhaps the device was swapped, or the file was truncated: make it as large as it was", path.display())]
    Shrunk { path: PathBuf, size: Bytes, recorded: Bytes },
    /// thin_check found errors.
    #[error("the metadata of the pool {name} in {} is damaged", metadata.display())]
    DamagedMetadata { name: PoolName, metadata: PathBuf, source: ToolError },
    /// thin_check could not be run.
    #[error("cannot check the metadata of the pool {name}")]
    Check { name: PoolName, source: ToolError },
    /// The kernel did not reserve a metadata snapshot.
    #[error("cannot reserve a metadata snapshot of the pool {name}")]
    ReserveMetadata { name: PoolName, source: KernelError },
    /// thin_ls could not be run, or failed.
    #[error("cannot list the thin ids of the pool {name}")]
    ListIds { name: PoolName, source: ToolError },
    /// thin_ls printed something else than ids.
    #[error("cannot list the thin ids of the pool {name}: thin_ls printed {text:?}")]
    WrongId { name: PoolName, text: String },
    /// thin_repair could not make sound metadata of the damaged metadata.
    #[error("cannot repair the metadata of the pool {name}, which was not changed")]
    Repair { name: PoolName, source: ToolError },
    /// The metadata of an active pool must not be replaced.
    #[error(
        "cannot repair the metadata of the pool {name}: the pool is active; deactivate it first"
    )]
    RepairActive { name: PoolName },
    /// The new size is below the present size.
    #[error(
        "cannot make the pool {name} smaller: it has {data} for data and {metadata} for metadata, and pools do not shrink"
    )]
    Shrink { name: PoolName, data: Bytes, metadata: Bytes },
    /// The file system of the loop files has no room for the new size.
    #[error("{} cannot grow to {wanted}: it may have {room}, which is {} of its own and the free space of its file system; make room there, or use block devices", path.display(), Percent::new(80).expect("80 is a percentage"))]
    NoRoomToGrow { path: PathBuf, wanted: Bytes, room: Bytes },
    /// A size was given for a pool on devices, which takes the sizes of its devices.
    #[error(
        "cannot give the pool {name} a size: it takes the sizes of its devices; enlarge the devices"
    )]
    GrowDevices { name: PoolName },
    /// The pool did not take its new table.
    #[error("cannot grow the pool {name}; the next use of the pool tries again")]
    Grow { name: PoolName, source: KernelError },
    /// The kernel's table line of the pool cannot be parsed.
    #[error("cannot parse the table of the pool {name}")]
    PoolTable { name: PoolName, source: TableError },
    /// LVM has not activated the pool.
    #[error("LVM has no active thin pool {}; activate it with `lvchange --activate y {}`", node.display(), node.display())]
    LvmInactive { node: PathBuf },
    /// The LVM volume is not a thin pool, or LVM has volumes in the pool.
    #[error("cannot adopt {}: it is a {target} device, and only a thin pool without volumes of LVM can be adopted; create one with `lvcreate --type thin-pool`", node.display())]
    LvmNotPool { node: PathBuf, target: String },
    /// The LVM pool has blocks in use, or had volumes.
    #[error("cannot adopt the thin pool {}: it is not empty; adopt one that nobody has used", node.display())]
    LvmNotEmpty { node: PathBuf },
    /// Only LVM grows a pool that LVM made.
    #[error("cannot grow the thin pool {}: LVM manages it; grow it with `lvextend --size +SIZE {}`", node.display(), node.display())]
    LvmGrows { node: PathBuf },
    /// Only LVM checks and repairs a pool that LVM made.
    #[error("cannot check or repair the thin pool {}: LVM manages it, and checks it at each activation; repair it with `lvconvert --repair {}`", node.display(), node.display())]
    LvmChecks { node: PathBuf },
    /// A device is too small for a pool.
    #[error("{} is too small for a pool: it has {size}; give a larger device", path.display())]
    Small { path: PathBuf, size: Bytes },
    /// The pool's dm device could not be created.
    #[error("cannot activate the pool {name}")]
    ActivatePool { name: PoolName, source: KernelError },
    /// The pool's dm device could not be removed.
    #[error("cannot deactivate the pool {name}")]
    DeactivatePool { name: PoolName, source: KernelError },
    /// The kernel did not give the pool's status.
    #[error("cannot read the status of the pool {name}")]
    PoolStatus { name: PoolName, source: KernelError },
    /// The kernel's status line of the pool cannot be parsed.
    #[error("cannot parse the status of the pool {name}")]
    StatusLine { name: PoolName, source: StatusError },
    /// The pool is too full for another volume: `used` has reached `limit` percent of `total`.
    #[error(
        "the pool {name} is full: {used} of {total} for {what} in {} are used, and the limit is {limit}",
        path.display()
    )]
    Full {
        name: PoolName,
        what: &'static str,
        used: Bytes,
        total: Bytes,
        limit: Percent,
        path: PathBuf,
    },
    /// The pool has no room for `more` bytes, and cannot grow enough.
    #[error(
        "the pool {name} is too small for {more} more: {used} are used, it can have {most} in {}, and the limit is {limit}",
        path.display()
    )]
    TooSmall {
        name: PoolName,
        more: Bytes,
        used: Bytes,
        most: Bytes,
        limit: Percent,
        path: PathBuf,
    },
    /// The pool's mode does not allow a change.
    #[error("cannot change the pool {name}: its mode is {mode}")]
    Stuck { name: PoolName, mode: PoolMode },
    /// The transaction ids of pool and store do not match.
    #[error(
        "the pool {name} is at transaction {kernel} and the store at {store}: one of them is an old copy, or something else changed the pool"
    )]
    Transaction { name: PoolName, kernel: u64, store: u64 },
    /// The pool did not take the next transaction id.
    #[error("cannot set the transaction id of the pool {name} from {from} to {to}")]
    SetTransaction { name: PoolName, from: u64, to: u64, source: KernelError },
    /// All thin ids of the pool are in use; a thin id has 24 bits.
    #[error("cannot create a volume in the pool {name}: it has no thin id left")]
    NoThinId { name: PoolName },

    /// A volume of this name exists.
    #[error("the volume {volume} exists already in the pool {pool}")]
    Exists { volume: VolumeName, pool: PoolName },
    /// There is no such volume.
    #[error("there is no volume {volume} in the pool {pool}")]
    NoVolume { volume: VolumeName, pool: PoolName },
    /// Another process holds the volume's lock: it creates, activates or deletes the volume.
    #[error(
        "the volume {volume} of the pool {pool} is being created or deleted by another process; try again when that process has done it"
    )]
    VolumeLocked { volume: VolumeName, pool: PoolName },
    /// The process that created or deleted the volume died before it was done.
    #[error(
        "the volume {volume} of the pool {pool} is half created or half deleted: the process that did it died"
    )]
    Unfinished { volume: VolumeName, pool: PoolName },
    /// The size is zero, larger than a volume can be, or larger than the volume that is to shrink.
    #[error("the volume {volume} cannot have the size {size}")]
    Size { volume: VolumeName, size: Bytes },
    /// The kernel did not create the thin volume.
    #[error("cannot create the volume {volume} (thin id {id}) in the pool {pool}")]
    Create { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
    /// The kernel did not take the snapshot.
    #[error("cannot snapshot {origin} as {volume} (thin id {id}) in the pool {pool}")]
    Snapshot {
        origin: VolumeName,
        volume: VolumeName,
        id: ThinId,
        pool: PoolName,
        source: KernelError,
    },
    /// The origin could not be suspended or resumed.
    #[error("cannot {action} the volume {origin} for a snapshot in the pool {pool}")]
    SuspendOrigin { action: &'static str, origin: VolumeName, pool: PoolName, source: KernelError },
    /// The volume's dm device could not be created.
    #[error("cannot activate the volume {volume} (thin id {id}) of the pool {pool}")]
    Activate { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
    /// The store has a complete volume whose thin id the pool does not have.
    #[error(
        "the pool {pool} has lost the volume {volume} (thin id {id}): perhaps the store is an older copy"
    )]
    LostVolume { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
    /// The kernel did not say whether the volume has a dm device.
    #[error("cannot look for the device of the volume {volume} of the pool {pool}")]
    Find { volume: VolumeName, pool: PoolName, source: KernelError },
    /// The kernel did not list its dm devices.
    #[error("cannot list the devices of the pool {pool}")]
    List { pool: PoolName, source: KernelError },
    /// The device of the volume's name belongs to another volume, or the device of a sealed volume is writable.
    #[error(
        "cannot use the volume {volume}: its device {device} belongs to another volume or is writable; find the device's users with `fuser` and `findmnt`, then run `dmsetup remove {device}`"
    )]
    WrongDevice { volume: VolumeName, device: String },
    /// The volume is mounted or open. [`Error::naming_users`] looks for the users.
    #[error("the volume {volume} of the pool {pool} is in use by {users}; unmount {} there first", device.display())]
    Busy { volume: VolumeName, pool: PoolName, device: PathBuf, users: Users, source: KernelError },
    /// A sealed volume never changes again.
    #[error(
        "cannot resize the volume {volume} of the pool {pool}: it is sealed and keeps its size; take a snapshot of it and resize the snapshot"
    )]
    Sealed { volume: VolumeName, pool: PoolName },
    /// The new size is below the volume's size, and a volume only grows.
    #[error(
        "cannot shrink the volume {volume} of the pool {pool} from {from} to {to}: a volume only grows; create a smaller volume and copy the files"
    )]
    ShrinkVolume { volume: VolumeName, pool: PoolName, from: Bytes, to: Bytes },
    /// The volume's longer table could not be loaded.
    #[error(
        "cannot resize the volume {volume} of the pool {pool} to {size}; its next activation tries again"
    )]
    Resize { volume: VolumeName, pool: PoolName, size: Bytes, source: KernelError },
    /// A metadata snapshot is reserved already, and a dry run must not release it.
    #[error(
        "the metadata snapshot of the pool {pool} is reserved, by a process that died or by another program"
    )]
    SnapshotReserved { pool: PoolName },
    /// The kernel did not delete a thin id that no volume owns.
    #[error("cannot delete the thin id {id}, which no volume owns, from the pool {pool}")]
    DeleteStray { id: ThinId, pool: PoolName, source: KernelError },
    /// The volume's dm device could not be removed.
    #[error("cannot deactivate the volume {volume} of the pool {pool}")]
    Deactivate { volume: VolumeName, pool: PoolName, source: KernelError },
    /// What was written to the volume could not be flushed to the disk.
    #[error("cannot flush the volume {volume} of the pool {pool}")]
    Flush { volume: VolumeName, pool: PoolName, source: io::Error },
    /// The kernel's status line of a thin volume cannot be parsed.
    #[error("cannot read the status of the volume {volume}: the kernel printed {line:?}")]
    VolumeStatus { volume: VolumeName, line: String },
    /// The kernel did not delete the thin volume.
    #[error("cannot delete the volume {volume} (thin id {id}) from the pool {pool}")]
    Delete { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
}

impl Error {
    /// Looks for the users of a volume in use, if this is [`Error::Busy`]. The search takes up to about a second, so the caller
    /// calls this for an error that people read, and holds no lock for which containers wait.
    #[must_use]
    pub fn naming_users(mut self) -> Self {
        if let Self::Busy { device, users, .. } = &mut self {
            *users = Users::of_node(device);
        }
        self
    }

    /// For `map_err`: an [`Error::Backing`].
    pub(crate) fn backing(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Backing { action, path, source }
    }

    /// For `map_err`: an [`Error::Store`].
    pub(crate) fn store(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Store { action, path, source }
    }
}
