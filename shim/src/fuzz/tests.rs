//! The short form of the fuzzing: seeds, seeds with damage, and everything one step away from a captured configuration.

use sharedroot_seeds::{Target, damaged_seeds, every_seed, wrong_values};

use super::*;

const TARGETS: [Target; 4] =
    [("argv", argv), ("config", super::config), ("settings", settings), ("store", record)];

#[test]
fn every_seed_is_read_or_refused() {
    every_seed(&TARGETS);
}

#[test]
fn damaged_seeds_are_read_or_refused() {
    damaged_seeds(&TARGETS);
}

#[test]
fn wrong_values_are_read_or_refused() {
    wrong_values("", ("config", super::config));
}
