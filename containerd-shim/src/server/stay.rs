//! How long the server stays. It ends when containerd asks for the end and there is no container, and none is announced. The
//! promise of an announced container is its bundle: containerd removes the bundle when it gives the container up, also where
//! neither `Shutdown` nor `delete` tells the server, as after a `start` that was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sharedroot_task::{Id, Tasks};

/// How long a server that ends waits until its answers and events are out. containerd waits 3 s.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often the bundles of announced containers are looked for. Usually `Create` comes some milliseconds after `start`.
const OFTEN: Duration = Duration::from_secs(5);

/// When the server ends, and when it looks whether it must.
#[derive(Debug)]
pub struct Stay {
    socket: PathBuf,
    look: Instant,
    ends: Option<Instant>,
}

impl Stay {
    /// Stays, and listens at `socket`.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), look: Instant::now() + OFTEN, ends: None }
    }

    /// The end is decided: from now on no client finds the server, and the server takes no container. Those that are connected
    /// are answered. A later call changes nothing, because another server may listen at the path then.
    pub fn end(&mut self) {
        if self.ends.is_none() {
            self.ends = Some(Instant::now() + LAST_WORDS);
            let _ = fs::remove_file(&self.socket);
        }
    }

    /// When the server ends at the latest.
    pub fn ends_at(&self) -> Option<Instant> {
        self.ends
    }

    /// When [`Self::given_up`] has something to do.
    pub fn next(&self, tasks: &Tasks) -> Option<Instant> {
        tasks.announced().next().map(|_| self.look)
    }

    /// The announced containers whose bundles are gone, if it is time to look for them.
    pub fn given_up(&mut self, tasks: &Tasks) -> Vec<Id> {
        let now = Instant::now();
        if now < self.look {
            return Vec::new();
        }
        self.look = now + OFTEN;
        let gone = tasks.announced().filter(|(_, bundle)| !Path::new(bundle).exists());
        gone.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_whose_bundle_is_gone_is_given_up() {
        let mut tasks = Tasks::new(1);
        let mut stay = Stay::new(Path::new("/no/such/socket"));
        assert_eq!(stay.next(&tasks), None);
        for (id, bundle) in [("c1", "/"), ("c2", "/no/such/bundle")] {
            tasks.announce(id.parse().unwrap(), bundle.to_owned()).unwrap();
        }
        assert!(stay.next(&tasks).is_some());
        assert_eq!(stay.given_up(&tasks), [], "it is not time yet");
        stay.look = Instant::now();
        assert_eq!(stay.given_up(&tasks), ["c2".parse().unwrap()]);
        assert_eq!(stay.given_up(&tasks), []);
    }

    #[test]
    fn the_socket_is_removed_once() {
        let path = std::env::temp_dir().join(format!("shim-stay-{}", std::process::id()));
        let mut stay = Stay::new(&path);
        fs::write(&path, "").unwrap();
        assert_eq!(stay.ends_at(), None);
        stay.end();
        assert!(!path.exists() && stay.ends_at().is_some());
        fs::write(&path, "of another server").unwrap();
        stay.end();
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }
}
