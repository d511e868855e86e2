//! The short form of the fuzzing: seeds, damaged seeds, and every configuration that differs from a captured one at one place.

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
