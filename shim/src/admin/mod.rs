//! What an administrator asks and does; nothing here is in a container's path.

pub mod config;
pub mod doctor;
pub mod gc;
pub mod image;
pub mod install;
pub mod metrics;
pub mod pool;
pub mod status;
pub mod top;
