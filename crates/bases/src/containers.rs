//! What the program that runs containers knows of them, asked by whoever is about to take something away.

use std::error::Error;

use sharedroot_format::{Lease, VolumeName};

/// Why the program cannot say.
pub type ContainersError = Box<dyn Error + Send + Sync>;

/// The program's own records.
pub trait Containers {
    /// The leases that all containers have by their records.
    ///
    /// # Errors
    /// If a record cannot be read.
    fn leases(&self) -> Result<Vec<Lease>, ContainersError>;

    /// The snapshots that records name.
    ///
    /// # Errors
    /// If a record cannot be read.
    fn snapshots(&self) -> Result<Vec<VolumeName>, ContainersError>;

    /// Removes the record that names the snapshot: it is deleted, and nobody will delete the container any more.
    ///
    /// # Errors
    /// If the record cannot be removed.
    fn forget(&self, snapshot: &VolumeName) -> Result<(), ContainersError>;
}
