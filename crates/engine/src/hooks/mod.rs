//! The caller's hooks.
//!
//! | file | story |
//! |---|---|
//! | `callers` | when they run, where, and what they are told |
//! | `hook_relay` | a hook's stand-in, which is this program |

pub mod callers;
pub mod hook_relay;
