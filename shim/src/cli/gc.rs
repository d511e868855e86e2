//! `gc`.

use clap::Args;

// `gc`
#[derive(Debug, Args)]
pub struct Gc {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Where the pool is not the one that the store knows, go on with the pool as it is: delete thin IDs that no volume
    /// owns, forget volumes that the pool has lost
    #[arg(long)]
    pub force: bool,
    /// For programs
    #[arg(long)]
    pub json: bool,
}
