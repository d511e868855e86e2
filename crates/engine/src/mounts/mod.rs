//! Mounts and devices that libcontainer does not make, or makes in another way than runc.
//!
//! | file | story |
//! |---|---|
//! | `bind_mounts`, `mount_flags` | bind mounts of every propagation and flag |
//! | `propagation`, `propagation_plan` | what the options of a mount say of its propagation; who sets it, the engine or `bind_mounts` |
//! | `bind_mount_error` | why the volumes of a container cannot be prepared |
//! | `tmpfs` | file systems in memory, with the mode of the directory that they cover |
//! | `tmpcopyup` | file systems in memory that begin as a copy |
//! | `mount_ns` | the mount namespace of a container that waits |
//! | `places` | where the mounts are, and which one a path is in |
//! | `masked_paths` | the label of a container's masked directories |
//! | `dev`, `device_dirs`, `devices` | a volume at `/dev`; the mode of devices' directories; devices that libcontainer does not make |

pub mod bind_mount_error;
pub mod bind_mounts;
pub mod dev;
pub mod device_dirs;
pub mod devices;
pub mod masked_paths;
pub mod mount_flags;
pub mod mount_ns;
pub mod places;
pub mod propagation;
pub mod propagation_plan;
pub mod tmpcopyup;
pub mod tmpfs;
