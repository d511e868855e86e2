//! What a container's configuration says of its root file system: which root it is to get, what must be there, and what must
//! not lead out of it.

mod destinations;
mod error;
mod landing;
mod links;
mod needs;
mod over_proc;
mod plan;

pub use destinations::{lead_into_mounts, places};
pub use error::RootError;
pub use links::refuse_links;
pub use needs::{Needs, device_in_root};
pub use over_proc::refuse_over_proc;
pub use plan::{AnnotationError, Facts, Mode, Plan, plan, wanted_size};
