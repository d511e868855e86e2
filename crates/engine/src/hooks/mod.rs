//! The caller's hooks.
//!
//! | file | story |
//! |---|---|
//! | `callers` | the hooks of a configuration: who runs them, where, and which state they get |
//! | `later` | the hooks that run after `create` |
//! | `heard` | what a hook writes to standard error |
//! | `kinds` | the hooks of Docker and nerdctl, and all others |
//! | `hook_relay` | a hook's stand-in, which is this program |

pub mod callers;
pub mod heard;
pub mod hook_relay;
pub mod kinds;
pub mod later;
