//! The crate `sharedroot-dm`, used as the runtime uses it.

use std::path::{Path, PathBuf};

use sharedroot_bench::Clock;
use sharedroot_dm::{Backing, Deleted, Pool, PoolConfig, VolumeName};

use crate::cycles::{Arm, Ready};
use crate::filesystem;
use crate::mounts;
use crate::place::{BASE, BLOCK, DATA, METADATA, Place};

/// How often the pool is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// One open pool for all operations.
    Once,
    /// The pool is opened and closed for each operation, as every `create` and `delete` does.
    EachTime,
}

/// A pool of the crate `sharedroot-dm`.
#[derive(Debug)]
pub struct Ours {
    name: &'static str,
    config: PoolConfig,
    mounts: PathBuf,
    open: Option<Pool>,
}

/// The configuration of the pool with the state directory `state`.
pub fn config(state: &Path) -> PoolConfig {
    let name = state.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
    let name = name.expect("the directory's name is a pool's name");
    let run = PathBuf::from("/run/sharedroot-bench").join(state.file_name().unwrap_or_default());
    let mut config = PoolConfig::on_loop(name, state.to_owned(), run);
    config.backing = Backing::Loop { data: DATA, metadata: METADATA };
    config.block = BLOCK;
    config
}

/// The base's name.
pub fn base() -> VolumeName {
    "base".parse().expect("a volume name")
}

fn volume(number: usize) -> VolumeName {
    format!("private-{number:032x}").parse().expect("a volume name")
}

impl Ours {
    pub fn new(place: &Place, pool: &'static str, opening: Opening, tree: &Path) -> Self {
        let state = place.dir(pool);
        std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .expect("a mode");
        let config = config(&state);
        let open = Pool::open(&config).expect("make a pool");
        let new = open.create_volume(&base(), BASE).expect("make a volume");
        filesystem::make_as_we_do(new.device(), tree);
        new.seal().expect("seal the base");
        let (name, open) = match opening {
            Opening::Once => ("ours", Some(open)),
            Opening::EachTime => ("ours, opened each time", None),
        };
        Self { name, config, mounts: place.dir(&format!("mnt-{pool}")), open }
    }

    /// The pool's state directory.
    pub fn state(&self) -> &Path {
        &self.config.state_dir
    }

    /// The pool of an arm that keeps it open.
    pub fn opened(&self) -> &Pool {
        self.open.as_ref().expect("this arm keeps its pool open")
    }

    /// Runs `body` with the pool. If this arm opens the pool for each operation, the clock measures that, too.
    fn with_pool(&self, clock: &mut Clock, body: impl FnOnce(&Pool, &mut Clock)) {
        if let Some(pool) = &self.open {
            return body(pool, clock);
        }
        let pool = clock.step("open", || Pool::open(&self.config).expect("open the pool"));
        body(&pool, clock);
        clock.step("close", || drop(pool));
    }
}

impl Arm for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn pool(&self) -> String {
        format!("sharedroot-{}", self.config.name)
    }

    fn ready(&mut self, number: usize, until: Ready, clock: &mut Clock) {
        let (origin, name) = (base(), volume(number));
        let at = self.mounts.join(number.to_string());
        std::fs::create_dir_all(&at).expect("a mount point");
        self.with_pool(clock, |pool, clock| {
            let snapshot = clock.step("snapshot + activate", || {
                pool.snapshot(&origin, &name).expect("take a snapshot")
            });
            if until == Ready::Mounted {
                clock.step("mount", || mounts::detached(snapshot.device(), &at));
            }
            clock.step("keep", || snapshot.keep().expect("keep the snapshot"));
        });
    }

    fn delete(&mut self, number: usize, until: Ready, clock: &mut Clock) {
        let at = self.mounts.join(number.to_string());
        if until == Ready::Mounted {
            clock.step("unmount", || mounts::unmount(&at));
        }
        self.with_pool(clock, |pool, clock| {
            let deleted = clock.step("deactivate + delete", || pool.delete(&volume(number)));
            assert_eq!(deleted.expect("delete the snapshot"), Deleted::Deleted);
        });
    }
}
