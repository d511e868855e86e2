//! What a configuration says of bases.

use sharedroot_dm::{Bytes, PoolConfig};
use sharedroot_label::SharedLabel;

/// What a configuration says of bases: plain data, nothing of which is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// The thin pool.
    pub pool: PoolConfig,
    /// Size of a base's file system.
    pub base_size: Bytes,
    /// Whether a container waits for a base that another one is making.
    pub base_wait: bool,
    /// The label of bases, instead of the one that the policy names.
    pub shared_label: Option<SharedLabel>,
}
