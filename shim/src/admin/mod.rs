//! What an administrator asks and does; nothing here is in a container's path.

pub mod doctor;
pub mod gc;
pub mod image;
pub mod pool;
pub mod status;
pub mod top;
