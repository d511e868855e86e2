//! The messages, declared by hand. `field_tests.rs` compares each message with its project's definition (`fixtures/`).
//!
//! | module | messages |
//! |---|---|
//! | `google` | `Any`, `FieldMask`, `Timestamp`, `Status`, `Empty` |
//! | `envelope` | ttrpc's own messages: the request and the response around every message |
//! | `task` | requests and responses of `containerd.task.v2` and `v3`, which are the same |
//! | `event` | the events that a shim publishes, and `Forward` |
//! | `options` | options of a runtime |
//! | `containers` | what is read of `containerd.services.containers.v1` |
//! | `snapshots` | requests and responses of `containerd.services.snapshots.v1` |
//! | `metrics` | `io.containerd.cgroups.v2.Metrics` |
//! | `bootstrap` | the standard input of `start` with containerd 2.3 and newer, and `-info` |

pub mod bootstrap;
pub mod containers;
pub mod envelope;
pub mod event;
mod google;
pub mod metrics;
pub mod options;
pub mod snapshots;
pub mod task;

pub use google::{Any, Empty, FieldMask, Status, Timestamp};

/// Gives messages the full names by which containerd knows them.
macro_rules! named {
    ($package:literal: $($message:ident),+ $(,)?) => {
        $(impl prost::Name for $message {
            const NAME: &'static str = stringify!($message);
            const PACKAGE: &'static str = $package;
        })+
    };
}
use named;
