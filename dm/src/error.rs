//! What can fail, and on what. What to do about it is a fact, too, where it is done with this crate: [`Remedy`]. The words of
//! a remedy are those of who calls this crate.

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
    /// A directory of ours cannot be made or read.
    #[error("cannot use the directory {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// Others can write a directory of ours.
    #[error(
        "{} is no directory of ours alone (owner {uid}, mode {mode:04o}); it decides what root mounts: chown it to root and chmod it to 0700",
        path.display()
    )]
    OpenDirectory { path: PathBuf, uid: u32, mode: u32 },
    /// A lock file cannot be made or locked.
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    /// The store cannot be read or written.
    #[error("cannot {action} the store {}", path.display())]
    Store { action: &'static str, path: PathBuf, source: rusqlite::Error },
    /// The store's file cannot be made.
    #[error("cannot make the store {}", path.display())]
    StoreFile { path: PathBuf, source: io::Error },
    /// A later version of this program wrote the store.
    #[error("the store {} has schema {found} and this program knows {known}; install the version that wrote it", path.display())]
    NewerStore { path: PathBuf, found: i64, known: i64 },
    /// A row has a value that this program never writes.
    #[error("the store {} holds {value:?} as {column}; restore it from a backup", path.display())]
    StoreValue { path: PathBuf, column: &'static str, value: String },

    /// There is no such pool and it is not to be made on the way.
    #[error("there is no pool {name} in {}", state_dir.display())]
    NoPool { name: PoolName, state_dir: PathBuf },
    /// The pool exists.
    #[error("the pool {name} exists already in {}", state_dir.display())]
    PoolExists { name: PoolName, state_dir: PathBuf },
    /// A dm device of the pool's name is there, but no row of the store.
    #[error(
        "the device {device} and {volumes} volumes of a pool {name} are active, but the store in {} does not know the pool; restore the store, or remove the devices with `dmsetup remove`, the volumes' first",
        state_dir.display()
    )]
    UnknownPoolDevice { name: PoolName, device: String, volumes: usize, state_dir: PathBuf },
    /// The pool's dm name is another device's: of another program, or of a pool in another store.
    #[error(
        "the device {device} has the uuid {uuid:?} and is not the pool {name} of this store; give this pool another name in the configuration, or remove the device with `dmsetup remove {device}`"
    )]
    ForeignDevice { name: PoolName, device: String, uuid: String },
    /// The block size is none that dm-thin takes.
    #[error("a pool cannot have blocks of {block}; take a multiple of 64 KiB up to 1 GiB")]
    BlockSize { block: Bytes },
    /// The file system has no room for a loop file.
    #[error("{} of {free} free is too little for a pool in {}, {least} is the least; make room there", Percent::new(80).expect("80 is a percentage"), path.display())]
    NoRoom { path: PathBuf, free: Bytes, least: Bytes },
    /// A pool's file is there without a pool.
    #[error("{} exists, but the store knows no such pool; restore the store, or move the file away", path.display())]
    FileWithoutPool { path: PathBuf },
    /// A pool's file or device cannot be used.
    #[error("cannot {action} {}", path.display())]
    Backing { action: &'static str, path: PathBuf, source: io::Error },
    /// No loop device can be had.
    #[error("no loop device: {cause}; load the loop module (modprobe loop)")]
    NoLoop { cause: io::Error },
    /// The path is no block device.
    #[error("{} is no block device", path.display())]
    NotBlock { path: PathBuf },
    /// The device is mounted or otherwise claimed.
    #[error("{} is in use: mounted, or part of another device", path.display())]
    InUse { path: PathBuf, source: io::Error },
    /// The device holds something.
    #[error("{} carries {found}; if nobody needs it, create the pool with --force", path.display())]
    Signature { path: PathBuf, found: &'static str },
    /// The pool's metadata is not where the store says.
    #[error("{} holds no thin-pool metadata; has the device got another name, or has the file been replaced?", path.display())]
    NotMetadata { path: PathBuf },
    /// Data and metadata are one device.
    #[error("{} cannot hold data and metadata of one pool; give two devices", path.display())]
    OneDevice { path: PathBuf },
    /// The metadata is another pool's.
    #[error("{} holds the metadata of another pool ({found}); have devices been swapped or files replaced, or is the store from before the pool grew?", path.display())]
    ForeignMetadata { path: PathBuf, found: String },
    /// A file or device is smaller than what the pool uses of it.
    #[error("{} has {size} and the pool uses {recorded} of it; has the device been swapped or the file cut off? Make it as large as it was", path.display())]
    Shrunk { path: PathBuf, size: Bytes, recorded: Bytes },
    /// thin_check finds errors.
    #[error("the metadata of the pool {name} in {} is damaged", metadata.display())]
    Unsound { name: PoolName, metadata: PathBuf, source: ToolError },
    /// thin_check cannot be run.
    #[error("cannot check the metadata of the pool {name}")]
    Check { name: PoolName, source: ToolError },
    /// The kernel does not reserve a snapshot of the metadata.
    #[error("cannot read the metadata of the pool {name}")]
    ReserveMetadata { name: PoolName, source: KernelError },
    /// thin_ls cannot be run.
    #[error("cannot list the thin ids of the pool {name}")]
    ListIds { name: PoolName, source: ToolError },
    /// thin_ls prints something else than ids.
    #[error("thin_ls gave {text:?} as a thin id of the pool {name}")]
    WrongId { name: PoolName, text: String },
    /// thin_repair makes nothing sound of the metadata.
    #[error("cannot repair the metadata of the pool {name}; it is as it was")]
    Repair { name: PoolName, source: ToolError },
    /// The metadata of a pool in use is not to be replaced.
    #[error("the pool {name} is active; deactivate it first")]
    RepairActive { name: PoolName },
    /// A size below the present one.
    #[error(
        "the pool {name} has {data} for data and {metadata} for metadata, and pools do not shrink"
    )]
    Shrink { name: PoolName, data: Bytes, metadata: Bytes },
    /// The file system of the loop files has no room for the new size.
    #[error("{} cannot grow to {wanted}: {room} is what it may have, {} of its file system's free space; make room there, or use block devices", path.display(), Percent::new(80).expect("80 is a percentage"))]
    NoRoomToGrow { path: PathBuf, wanted: Bytes, room: Bytes },
    /// Devices have their own sizes.
    #[error("the pool {name} lies on devices; enlarge them")]
    GrowDevices { name: PoolName },
    /// The pool did not take its new table.
    #[error("cannot give the pool {name} its new size; its next use tries again")]
    Grow { name: PoolName, source: KernelError },
    /// The kernel's table line is not understood.
    #[error("cannot understand the table of the pool {name}")]
    PoolTable { name: PoolName, source: TableError },
    /// LVM has not activated the pool.
    #[error("LVM has no active thin pool {}; activate it with `lvchange --activate y {}`", node.display(), node.display())]
    LvmInactive { node: PathBuf },
    /// The LVM volume is no thin pool, or LVM has put volumes into it.
    #[error("{} is a {target} device and no thin pool without volumes of LVM's; make one with `lvcreate --type thin-pool`", node.display())]
    LvmNotPool { node: PathBuf, target: String },
    /// Somebody has used the pool.
    #[error("the thin pool {} is not empty; adopt one that nobody has used", node.display())]
    LvmNotEmpty { node: PathBuf },
    /// LVM grows the pool.
    #[error("the thin pool {} is LVM's; grow it with `lvextend --size +SIZE {}`", node.display(), node.display())]
    LvmGrows { node: PathBuf },
    /// LVM checks and repairs the pool.
    #[error("the thin pool {} is LVM's, which checks it when it activates it; repair it with `lvconvert --repair {}`", node.display(), node.display())]
    LvmChecks { node: PathBuf },
    /// A device is too small for a pool.
    #[error("{} has {size}, too little for a pool", path.display())]
    Small { path: PathBuf, size: Bytes },
    /// The pool's device could not be made.
    #[error("cannot activate the pool {name}")]
    ActivatePool { name: PoolName, source: KernelError },
    /// The pool's device could not be removed.
    #[error("cannot deactivate the pool {name}")]
    DeactivatePool { name: PoolName, source: KernelError },
    /// The kernel does not tell the pool's status.
    #[error("cannot read the status of the pool {name}")]
    PoolStatus { name: PoolName, source: KernelError },
    /// The kernel's status line is not understood.
    #[error("cannot understand the status of the pool {name}")]
    StatusLine { name: PoolName, source: StatusError },
    /// The pool is too full for another volume.
    #[error(
        "the pool {name} is full: {used} of {total} {what} used in {}, the limit is {limit}",
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
    /// What is to be written does not fit.
    #[error(
        "the pool {name} is too small for {more} more: {used} are used, it has or can have {most} in {}, and the limit is {limit}",
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
    /// The kernel does not let the pool be changed.
    #[error("the pool {name} cannot be changed, its mode is {mode}")]
    Stuck { name: PoolName, mode: PoolMode },
    /// Pool and store do not belong together, or one of them is an older copy.
    #[error(
        "the pool {name} is at transaction {kernel} and the store at {store}: one of them is an old copy, or something else changed the pool"
    )]
    Transaction { name: PoolName, kernel: u64, store: u64 },
    /// The pool did not take the next transaction id.
    #[error("cannot set the transaction id of the pool {name} from {from} to {to}")]
    SetTransaction { name: PoolName, from: u64, to: u64, source: KernelError },
    /// All 24 bits are in use.
    #[error("the pool {name} has no thin id left")]
    NoThinId { name: PoolName },

    /// The volume exists.
    #[error("the volume {volume} exists already in the pool {pool}")]
    Exists { volume: VolumeName, pool: PoolName },
    /// There is no such volume.
    #[error("there is no volume {volume} in the pool {pool}")]
    NoVolume { volume: VolumeName, pool: PoolName },
    /// Another process is making, activating or deleting the volume.
    #[error(
        "the volume {volume} of the pool {pool} is being made or deleted by another process; try again when it is done"
    )]
    Making { volume: VolumeName, pool: PoolName },
    /// The volume's maker or deleter died.
    #[error("the volume {volume} of the pool {pool} is half-made or half-deleted")]
    Unfinished { volume: VolumeName, pool: PoolName },
    /// The size is zero.
    #[error("the volume {volume} cannot have the size {size}")]
    Size { volume: VolumeName, size: Bytes },
    /// The pool did not make the volume.
    #[error("cannot create the volume {volume} (thin id {id}) in the pool {pool}")]
    Create { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
    /// The pool did not make the snapshot.
    #[error("cannot snapshot {origin} as {volume} (thin id {id}) in the pool {pool}")]
    Snapshot {
        origin: VolumeName,
        volume: VolumeName,
        id: ThinId,
        pool: PoolName,
        source: KernelError,
    },
    /// The origin could not be suspended or resumed.
    #[error("cannot {action} {origin} around a snapshot in the pool {pool}")]
    SuspendOrigin { action: &'static str, origin: VolumeName, pool: PoolName, source: KernelError },
    /// The volume's device could not be made.
    #[error("cannot activate the volume {volume} (thin id {id}) of the pool {pool}")]
    Activate { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
    /// The pool has not the thin id of a complete volume.
    #[error(
        "the pool {pool} has lost the volume {volume} (thin id {id}); perhaps the store is an older copy"
    )]
    LostVolume { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
    /// The volume's device could not be looked up.
    #[error("cannot look for the device of the volume {volume} of the pool {pool}")]
    Find { volume: VolumeName, pool: PoolName, source: KernelError },
    /// The kernel's devices could not be listed.
    #[error("cannot list the devices of the pool {pool}")]
    List { pool: PoolName, source: KernelError },
    /// A device of the volume's name is another volume's, or a sealed volume's device is writable.
    #[error(
        "the active device {device} is not the volume {volume} as it should be; find its user (`fuser`, `findmnt`), then `dmsetup remove {device}`"
    )]
    WrongDevice { volume: VolumeName, device: String },
    /// The volume is mounted or open.
    #[error("the volume {volume} of the pool {pool} is in use by {users}; unmount {} there first", device.display())]
    Busy { volume: VolumeName, pool: PoolName, device: PathBuf, users: Users, source: KernelError },
    /// The volume never changes again.
    #[error(
        "the volume {volume} of the pool {pool} is sealed and keeps its size; make a snapshot of it and resize that"
    )]
    Sealed { volume: VolumeName, pool: PoolName },
    /// A volume only grows.
    #[error(
        "the volume {volume} of the pool {pool} has {from} and cannot shrink to {to}; make a smaller volume and copy the files"
    )]
    ShrinkVolume { volume: VolumeName, pool: PoolName, from: Bytes, to: Bytes },
    /// The volume's longer table could not be loaded.
    #[error(
        "cannot resize the volume {volume} of the pool {pool} to {size}; its next activation does it"
    )]
    Resize { volume: VolumeName, pool: PoolName, size: Bytes, source: KernelError },
    /// A dry run meets a metadata snapshot.
    #[error(
        "the metadata snapshot of the pool {pool} is reserved, by a process that died or by another program"
    )]
    SnapshotReserved { pool: PoolName },
    /// The pool did not delete a thin id that no volume owns.
    #[error("cannot delete the thin id {id}, which no volume owns, from the pool {pool}")]
    DeleteStray { id: ThinId, pool: PoolName, source: KernelError },
    /// The volume's device could not be removed.
    #[error("cannot deactivate the volume {volume} of the pool {pool}")]
    Deactivate { volume: VolumeName, pool: PoolName, source: KernelError },
    /// What was written could not be brought to the disk.
    #[error("cannot flush the volume {volume} of the pool {pool}")]
    Flush { volume: VolumeName, pool: PoolName, source: io::Error },
    /// The pool did not delete the volume.
    #[error("cannot delete the volume {volume} (thin id {id}) from the pool {pool}")]
    Delete { volume: VolumeName, id: ThinId, pool: PoolName, source: KernelError },
}

impl Error {
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
