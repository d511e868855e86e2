//! Containers that are only created, and that write and wait.

use std::fs;

use serde::Serialize;
use sharedroot_tests::lab::wait_for;

use crate::arm::{Arm, BUSYBOX, Driver};
use crate::space::{Look, Space};

/// The space of all containers of an arm.
#[derive(Serialize)]
pub struct Standing {
    before: Look,
    created: Look,
    /// The space after each container has written.
    running: Look,
    /// The space after `docker rm --force` of all.
    removed: Look,
    containers: i64,
}

impl Standing {
    /// Runs one arm after another, because no time is measured here.
    pub fn measure(arms: &[Arm], containers: usize) -> Vec<Self> {
        arms.iter().map(|arm| Self::of(arm, containers)).collect()
    }

    fn of(arm: &Arm, containers: usize) -> Self {
        eprintln!("cow: {}: standing", arm.name);
        let names: Vec<_> = (0..containers).map(|n| arm.name_of("standing", n)).collect();
        let before = Look::at(arm, &[], &[]);
        for name in &names {
            arm.container(&["create"], name, BUSYBOX, "echo written && exec sleep 10000");
        }
        let created = Look::at(arm, &names, &[]);
        let all: Vec<_> = names.iter().map(String::as_str).collect();
        arm.docker(&[&["start"], &all[..]].concat());
        let logs = arm.docker(&[&["inspect", "--format={{.LogPath}}"], &all[..]].concat());
        for log in logs.lines() {
            wait_for("the container has written", || {
                fs::read_to_string(log).expect("read its log").contains("written").then_some(())
            });
        }
        let running = Look::at(arm, &names, &[]);
        // sharedroot's containers must write to the pool, or they did not get its roots.
        let mut written = running - created;
        if let Driver::Pool = arm.driver {
            written.layers = Space::default();
        }
        written.must_hold("containers that run", containers as i64);
        arm.docker(&[&["rm", "--force"], &all[..]].concat());
        let removed = Look::at(arm, &[], &[]);
        Self { before, created, running, removed, containers: containers as i64 }
    }

    /// The space of one created container.
    pub fn created(&self) -> Look {
        (self.created - self.before) / self.containers
    }

    /// The space of one container that has written and still runs.
    pub fn running(&self) -> Look {
        (self.running - self.before) / self.containers
    }

    /// The space after all were removed.
    pub fn left(&self) -> Look {
        self.removed - self.before
    }
}
