//! What a configuration must not contain.
//!
//! | file | story |
//! |---|---|
//! | `forbidden` | what the runtime-spec forbids, and libcontainer would not notice, or not report by field |
//! | `unsupported` | what the embedded engine would leave out silently: refused by field |

pub mod forbidden;
pub mod unsupported;
