//! What a container's configuration says about its rootfs: which kind of rootfs the container gets, what must exist in
//! it, and what must not lead out of it.

mod destinations;
mod devices;
mod error;
mod landing;
mod links;
mod make;
mod needs;
mod over_proc;
mod plan;
mod way;

pub use destinations::{lead_into_mounts, places};
pub use devices::device_in_root;
pub use error::RootError;
pub use links::refuse_links;
pub use needs::Needs;
pub use over_proc::refuse_over_proc;
pub use plan::{AnnotationError, Facts, Given, Mode, Plan, Snapshot, plan, wanted_size};
