//! What the program that runs containers knows of its containers. This crate asks before it deletes or unmounts anything.

use std::error::Error;

use sharedroot_format::{Lease, VolumeName};

/// The reason why the program cannot answer.
pub type ContainersError = Box<dyn Error + Send + Sync>;

/// The program's own records.
pub trait Containers {
    /// The leases that the records of all containers name.
    ///
    /// # Errors
    /// If a record cannot be read.
    fn leases(&self) -> Result<Vec<Lease>, ContainersError>;

    /// The snapshots that records name.
    ///
    /// # Errors
    /// If a record cannot be read.
    fn snapshots(&self) -> Result<Vec<VolumeName>, ContainersError>;

    /// Removes the record that names a deleted snapshot: nobody will delete the container of that record any more.
    ///
    /// # Errors
    /// If the record cannot be removed.
    fn forget(&self, snapshot: &VolumeName) -> Result<(), ContainersError>;
}
