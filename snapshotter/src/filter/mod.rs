//! containerd's filters: the condition in a request for a list (containerd, `pkg/filters`).
//!
//! | file | story |
//! |---|---|
//! | `scanner` | a text cut into tokens |
//! | `quote` | a quoted text in Go's syntax |
//! | `parser` | a filter: selectors that must all hold |
//! | `matching` | whether a snapshot passes |
//!
//! ```text
//! filter    = selector ("," selector)*
//! selector  = fieldpath [operator value]
//! fieldpath = field ("." field)*
//! field     = quoted | [A-Za-z0-9_-]+
//! operator  = "==" | "!=" | "~="
//! value     = quoted | text without comma and space
//! ```
//!
//! A snapshot passes a list of filters if it passes one of them, or if the list is empty.

mod matching;
mod parser;
mod quote;
mod scanner;

pub use matching::{Fields, Filters};
pub use parser::BadFilter;
