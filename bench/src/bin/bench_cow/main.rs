//! `hack/bench cow`: containers that write a little, and images committed from them, on roots of sharedroot, on overlay2 and on
//! Docker's btrfs driver. docs/cow.md says what is measured.
//!
//! The arms take turns, round by round, in one guest: ours and overlay2 in the lab's own Docker, btrfs in a second
//! daemon. A failure panics with its reason, because a benchmark
//! that goes on after an error measures something else.
//!
//! | file | its story |
//! |---|---|
//! | `options.rs` | the command line |
//! | `disks.rs` | the pool, and the disk that btrfs is on |
//! | `beside.rs` | the second daemon |
//! | `arm.rs` | a way to keep containers' roots, and `docker` for it |
//! | `space.rs` | the space that an arm's containers and images use |
//! | `shots.rs` | containers that write and end |
//! | `commit.rs` | images made from them |
//! | `standing.rs` | containers that are only created, and that write and wait |
//! | `table.rs` | the figures |
mod arm;
mod beside;
mod commit;
mod disks;
mod options;
mod shots;
mod space;
mod standing;
mod table;

use arm::{Arm, BUSYBOX, Driver};
use beside::Beside;
use commit::Commits;
use options::Options;
use serde_json::{Value, json};
use sharedroot_bench::{Samples, machine};
use sharedroot_tests::command::run;
use shots::Shots;
use standing::Standing;

fn main() {
    sharedroot_tests::lab::only_in_lab();
    let options = Options::parse(std::env::args().skip(1));
    disks::make_pool(options.pool);
    let beside = Beside::start(disks::for_btrfs());
    beside.load(BUSYBOX);
    let peer = arm::flags_of_peer(&options.runtime);
    let arms = [
        Arm::new("ours", Driver::Pool, None, vec!["--runtime=sharedroot".to_owned()]),
        Arm::new("overlay2", Driver::Overlay2, None, peer.clone()),
        Arm::new("btrfs", Driver::Btrfs { mounted: beside.driver() }, Some(beside.host()), peer),
    ];
    // The first container reads the programs from the disk, and counts for no arm.
    arms.iter().for_each(Arm::warm);

    let mut samples = Samples::default();
    let shots = Shots::run(&arms, shots::OF_THE_IMAGE, options.rounds, &mut samples);
    let commits = Commits::make(&arms, options.rounds, &mut samples);
    shots.remove(&arms, &mut samples);
    let again = Shots::run(&arms, shots::OF_THE_COMMIT, options.rounds, &mut samples);
    again.remove(&arms, &mut samples);
    shots::and_remove(&arms, options.rounds, &mut samples);
    let standing = Standing::measure(&arms, options.rounds);

    let found = table::Found { arms: &arms, samples, shots, commits, again, standing };
    print!("{}", table::of(&found));
    if let Some(path) = &options.json {
        let whole = json!({
            "machine": facts(&arms),
            "options": options.json(),
            "milliseconds": found.samples.json(),
            "bytes": found.looks(),
        });
        std::fs::write(path, format!("{whole:#}\n")).expect("write the JSON");
    }
}

/// What the figures depend on.
fn facts(arms: &[Arm]) -> Value {
    let mut facts = machine();
    for program in ["sharedroot", "runc", "crun", "dockerd", "mkfs.btrfs"] {
        facts[program] = json!(run(&[program, "--version"]).stdout.lines().next());
    }
    for arm in arms {
        facts[arm.name] = json!({
            "docker": arm.docker(&["info", "--format", "{{.Driver}} {{json .DriverStatus}}"]),
            "flags": arm.flags,
        });
    }
    facts
}
