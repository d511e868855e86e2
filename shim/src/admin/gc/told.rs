//! What `gc` says of each thing that it found.

use std::fmt;

use serde_json::{Value, json};
use sharedroot_bases::RootfsError;
use sharedroot_dm::Reconcile;
use sharedroot_sys::chain::chain;

use crate::output::say;

/// What `gc` reports: lines immediately for people, everything at the end for programs.
pub struct Told {
    pub dry_run: bool,
    pub json: bool,
    pub items: Vec<Item>,
    /// The steps that failed, by name. Their reasons were printed as warnings.
    pub failed: Vec<String>,
}

impl Told {
    /// What the steps do.
    pub fn how(&self) -> Reconcile {
        if self.dry_run { Reconcile::DryRun } else { Reconcile::Apply }
    }

    /// A line for people.
    pub fn say(&self, line: fmt::Arguments<'_>) {
        if !self.json {
            say!("{line}");
        }
    }

    /// The failure of one step does not stop the others.
    pub fn failed(&mut self, name: &str, error: &RootfsError) {
        tracing::warn!("{name}: {}", chain(error));
        self.failed.push(name.to_owned());
    }

    /// The full name is for programs, `text` for people.
    pub fn item(&mut self, done: Done, kind: Kind, (name, text): (&str, &str), why: &str) {
        self.item_within(true, done, kind, (name, text), why);
    }

    /// The same; people see it only if it is `shown`.
    pub fn item_within(
        &mut self,
        shown: bool,
        done: Done,
        kind: Kind,
        (name, text): (&str, &str),
        why: &str,
    ) {
        let (would, did) = done.words();
        if shown {
            self.say(format_args!("{} {text}: {why}", if self.dry_run { would } else { did }));
        }
        self.items.push(Item { done, kind, name: name.to_owned(), why: why.to_owned() });
    }
}

/// One thing that was found.
pub struct Item {
    done: Done,
    kind: Kind,
    name: String,
    why: String,
}

impl Item {
    /// As programs read it.
    pub fn to_json(&self) -> Value {
        // Programs read in one place that the run is a dry run.
        let (_, did) = self.done.words();
        json!({ "done": did, "kind": self.kind.word(), "name": self.name, "why": self.why })
    }
}

/// What became of it.
#[derive(Clone, Copy)]
pub enum Done {
    Deleted,
    Unmounted,
    Removed,
    Kept,
}

impl Done {
    /// The words of a dry run, and of a real one.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Deleted => ("would delete", "deleted"),
            Self::Unmounted => ("would unmount", "unmounted"),
            Self::Removed => ("would remove", "removed"),
            Self::Kept => ("kept", "kept"),
        }
    }
}

/// What it is.
#[derive(Clone, Copy)]
pub enum Kind {
    Import,
    Snapshot,
    Scaffold,
    BaseMount,
    Base,
    Layer,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Snapshot => "snapshot",
            Self::Scaffold => "scaffold",
            Self::BaseMount => "base_mount",
            Self::Base => "base",
            Self::Layer => "layer",
        }
    }
}
