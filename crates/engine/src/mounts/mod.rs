//! Mounts and devices that libcontainer does not make, or makes in another way than runc.
//!
//! | file | story |
//! |---|---|
//! | `bind_mounts`, `propagation`, `mount_flags` | bind mounts of every propagation and flag |
//! | `tmpfs` | file systems in memory, with the mode of the directory that they cover |
//! | `tmpcopyup` | file systems in memory that begin as a copy |
//! | `mount_ns` | the mount namespace of a container that waits |
//! | `masked_paths` | the label of a container's masked directories |
//! | `dev`, `device_dirs`, `devices` | a volume at `/dev`; the mode of devices' directories; devices that libcontainer does not make |

pub mod bind_mounts;
pub mod dev;
pub mod device_dirs;
pub mod devices;
pub mod masked_paths;
pub mod mount_flags;
pub mod mount_ns;
pub mod propagation;
pub mod tmpcopyup;
pub mod tmpfs;
