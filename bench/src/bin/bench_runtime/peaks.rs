//! The peak memory of the largest process of each command.
//!
//! The kernel keeps one maximum of all children that were waited for (getrusage(2), RUSAGE_CHILDREN), so each command runs as
//! the child of a process of its own. The maximum of a child begins with the memory that its parent had before execve. So that
//! parent must be small, and no figure is smaller than the parent's memory.

use nix::sys::resource::{UsageWho, getrusage};
use sharedroot_tests::command::Cmd;

use crate::place::text;
use crate::runtime::{Arms, Runtime, call, wait};

/// The kilobytes of each command of an arm.
#[derive(Debug)]
pub struct Peaks {
    pub arm: &'static str,
    pub commands: Vec<(&'static str, u64)>,
}

impl Peaks {
    /// The largest figure.
    pub fn most(&self) -> u64 {
        self.commands.iter().map(|(_, kib)| *kib).max().unwrap_or_default()
    }
}

pub fn run(arms: &Arms) -> Vec<Peaks> {
    arms.all.iter().map(|arm| Peaks { arm: arm.name, commands: commands(arm) }).collect()
}

fn commands(arm: &Runtime) -> Vec<(&'static str, u64)> {
    let mut found = vec![("create", peak(&arm.create_true()))];
    let init = arm.init();
    found.push(("start", peak(&arm.start())));
    wait(&init);
    found.push(("delete", peak(&arm.delete())));
    call(&arm.create_pause());
    call(&arm.start());
    found.push(("exec", peak(&arm.exec())));
    arm.end();
    found
}

fn peak(words: &[String]) -> u64 {
    let own = std::env::current_exe().expect("the path of this program");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let printed = Cmd::new(text(&own)).arg("peak").args(&words).run().ok();
    printed.parse().unwrap_or_else(|e| panic!("{printed}: {e}"))
}

/// The child: runs the command and prints the peak.
pub fn print_peak_of(command: &[String]) {
    call(command);
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells the peak");
    println!("{}", usage.max_rss());
}
