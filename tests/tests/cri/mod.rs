//! The stories of `vm_cri`, in one guest and on one containerd.

mod containers;
mod images;
mod life;
mod security;
mod sub_paths;
mod volumes;
