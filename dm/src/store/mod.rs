//! The durable tables of pools and thin volumes: SQLite in `store.db`.
//!
//! | file | its story |
//! |---|---|
//! | `connection.rs` | the store opened; read, and written in transactions |
//! | `schema.rs` | the tables, and how an older store gets them |
//! | `pool_row.rs`, `volume_row.rs` | what the store knows of a pool, of a volume |

mod connection;
mod pool_row;
mod schema;
#[cfg(test)]
mod tests;
mod volume_row;

pub(crate) use connection::{Store, Writer};
pub(crate) use pool_row::{PoolPhase, PoolRow};
pub use volume_row::Phase;
pub(crate) use volume_row::VolumeRow;
