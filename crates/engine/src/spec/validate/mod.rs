//! What a configuration may not say.
//!
//! | file | story |
//! |---|---|
//! | `forbidden` | what the runtime-spec forbids, and libcontainer would not notice, or not by its name |
//! | `unsupported` | what the embedded engine would leave out in silence: refused by field |

pub mod forbidden;
pub mod unsupported;
