//! The table of snapshots: SQLite in `snapshots.db`. It knows names, parents and labels; the thin volumes are the store's of the
//! pool (`sharedroot-dm`), and a row leads to its volume by its number.
//!
//! | file | story |
//! |---|---|
//! | `connection` | the table opened; read, and written in transactions |
//! | `schema` | the tables |
//! | `row` | a snapshot as the table has it |
//! | `reads` | snapshots found and listed |
//! | `changes` | snapshots made, committed, changed, removed |
//! | `work` | what is to be done with volumes, and survives the end of the process |
//! | `error` | why a request is refused |

mod changes;
mod connection;
mod error;
#[cfg(test)]
mod others_tests;
mod reads;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod work;

pub use changes::{Commit, New};
pub use connection::Table;
pub use error::{TableError, What};
pub use row::{Info, Kind, Parent, Row, RowId, Time};
pub use work::{Item, Work};
