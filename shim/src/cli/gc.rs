//! `gc`.

use clap::Args;

// `gc`
#[derive(Debug, Args)]
pub struct Gc {
    /// Only print what `gc` would do
    #[arg(long)]
    pub dry_run: bool,
    /// If the pool is not the one that the store describes, continue with the pool: delete thin IDs without a volume,
    /// and forget volumes that the pool no longer has. Also delete the volumes of a snapshotter's table that was lost
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
