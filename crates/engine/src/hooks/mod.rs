//! The caller's hooks.
//!
//! | file | story |
//! |---|---|
//! | `callers` | when the hooks run, where, and which state they get |
//! | `hook_relay` | a hook's stand-in, which is this program |

pub mod callers;
pub mod hook_relay;
