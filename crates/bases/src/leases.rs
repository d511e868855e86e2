//! Leases: which container uses a base, and for what. Each lease is a small file below the run directory,
//! `lease/KEY/USE/HOLDER`. The file holds the holder's name, for people.
//!
//! To find the users of one base, sharedroot reads one directory, however many containers the host has. A container's record is
//! written first, then its lease, and only then does the container get the base. So a lease without a record is left from a
//! `delete` that was killed, and [`Leases::reconcile`] removes it. Leases end with the host's uptime, as mounts do. After a
//! reboot a snapshot needs no lease, because its blocks are its own.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sharedroot_format::{BaseKey, Holder, Lease, Use};

use crate::entries::entries;

/// A lease that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}")]
pub struct LeaseError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// How often the directory of a use is made again: the last other user may remove the directory each time before the new lease
/// is in it.
const TRIES: usize = 100;

/// All leases of one run directory.
#[derive(Debug)]
pub struct Leases(PathBuf);

impl Leases {
    /// The leases below `run_dir`, which only root can write.
    #[must_use]
    pub fn below(run_dir: &Path) -> Self {
        Self(run_dir.join("lease"))
    }

    fn path(&self, lease: &Lease) -> PathBuf {
        let Lease { base, what, holder, .. } = lease;
        self.0.join(base.to_string()).join(what.to_string()).join(holder.to_string())
    }

    /// Takes a lease. A lease that is held already stays.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn hold(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.put(lease, |path| fs::write(path, &lease.name))
    }

    /// Replaces a lease by another lease of the same base and holder. A missing lease is no error: [`Self::reconcile`] may
    /// remove it between its two looks.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn change(&self, held: &Lease, lease: &Lease) -> Result<(), LeaseError> {
        let path = self.path(held);
        self.put(lease, |new| match path.exists() {
            true => fs::rename(&path, new),
            false => fs::write(new, &lease.name),
        })?;
        let _where_it_was_the_last = path.parent().map(fs::remove_dir);
        Ok(())
    }

    fn put(
        &self,
        lease: &Lease,
        write: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<(), LeaseError> {
        let path = self.path(lease);
        let dir = path.parent().unwrap_or(&self.0);
        let mut written = write(&path);
        for _ in 0..TRIES {
            match written {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                written => return written.map_err(failed("write", &path)),
            }
            match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
                // Another process has removed a file or a directory of the path meanwhile.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {}
                made => made.map_err(failed("create", dir))?,
            }
            written = write(&path);
        }
        written.map_err(failed("write", &path))
    }

    /// Gives a lease back. A missing lease is no error.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        let path = self.path(lease);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed("remove", &path)(e)),
            _ => {}
        }
        // Each directory goes if this was its last lease.
        let _of_use_base_and_all = path.ancestors().skip(1).take(3).try_for_each(fs::remove_dir);
        Ok(())
    }

    /// Whether anybody uses the base for `what`.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn any(&self, base: &BaseKey, what: &Use) -> Result<bool, LeaseError> {
        let dir = self.0.join(base.to_string()).join(what.to_string());
        Ok(!listed::<Holder>(&dir)?.is_empty())
    }

    /// Whether anybody uses the base's mount. A snapshot has its own blocks, and does not use the mount.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn any_mount(&self, base: &BaseKey) -> Result<bool, LeaseError> {
        Ok(self.of(base)?.iter().any(|lease| lease.what != Use::Private))
    }

    /// The leases of one base.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn of(&self, base: &BaseKey) -> Result<Vec<Lease>, LeaseError> {
        let of_base = self.0.join(base.to_string());
        let mut found = Vec::new();
        for what in listed::<Use>(&of_base)? {
            let of_use = of_base.join(what.to_string());
            for holder in listed::<Holder>(&of_use)? {
                let path = of_use.join(holder.to_string());
                match fs::read_to_string(&path) {
                    // The lease was given back a moment ago.
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    name => {
                        let name = name.map_err(failed("read", &path))?;
                        found.push(Lease { base: base.clone(), what: what.clone(), holder, name });
                    }
                }
            }
        }
        Ok(found)
    }

    /// All leases.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn all(&self) -> Result<Vec<Lease>, LeaseError> {
        let mut found = Vec::new();
        for base in listed(&self.0)? {
            found.extend(self.of(&base)?);
        }
        Ok(found)
    }

    /// Makes the leases agree with those that `wanted` names. `wanted` is called after the leases were read, and again before a
    /// lease is removed. So a container that comes meanwhile keeps its lease. A version without leases has left no leases of
    /// containers that still run; these are added.
    ///
    /// # Errors
    /// [`LeaseError`], and the errors of `wanted`.
    pub fn reconcile<E: From<LeaseError>>(
        &self,
        wanted: impl Fn() -> Result<Vec<Lease>, E>,
    ) -> Result<(), E> {
        let held = self.all()?;
        let named = wanted()?;
        for lease in named.iter().filter(|lease| !held.contains(lease)) {
            self.hold(lease)?;
        }
        if held.iter().all(|lease| named.contains(lease)) {
            return Ok(());
        }
        let again = wanted()?;
        for lease in held.iter().filter(|lease| !named.contains(lease) && !again.contains(lease)) {
            self.release(lease)?;
        }
        Ok(())
    }
}

fn listed<T: FromStr>(dir: &Path) -> Result<Vec<T>, LeaseError> {
    entries(dir).map_err(failed("list", dir))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LeaseError {
    let path = path.to_owned();
    move |source| LeaseError { step, path, source }
}

#[cfg(test)]
mod tests {
    use sharedroot_format::ScaffoldName;

    use super::*;

    fn lease(id: &str, what: Use) -> Lease {
        let holder = Holder::of_record(&Path::new("/run/sharedroot/containers/1").join(id));
        Lease { base: "ab".repeat(32).parse().unwrap(), what, holder, name: id.to_owned() }
    }

    #[test]
    fn a_base_has_users_until_the_last_one_goes() {
        let run = tempfile::tempdir().unwrap();
        let leases = Leases::below(run.path());
        let scaffold = Use::Scaffold(ScaffoldName::of_digest([1; 32]));
        let (a, b) = (lease("a", Use::Shared), lease("b", Use::Shared));
        let c = lease("c", scaffold.clone());
        let key = &a.base;
        assert!(!leases.any(key, &Use::Shared).unwrap());
        for lease in [&a, &b, &c, &c] {
            leases.hold(lease).unwrap();
        }
        assert_eq!(leases.of(key).unwrap().len(), 3);
        leases.release(&a).unwrap();
        assert!(leases.any(key, &Use::Shared).unwrap());
        leases.release(&b).unwrap();
        leases.release(&b).unwrap();
        assert!(!leases.any(key, &Use::Shared).unwrap());
        assert!(leases.any(key, &scaffold).unwrap());
        assert_eq!(leases.all().unwrap(), std::slice::from_ref(&c));
        let other = lease("c", Use::Shared);
        leases.change(&c, &other).unwrap();
        assert_eq!(leases.all().unwrap(), std::slice::from_ref(&other));
        leases.change(&c, &other).unwrap();
        assert_eq!(leases.all().unwrap(), std::slice::from_ref(&other), "although it was not held");
        leases.release(&other).unwrap();
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_delete_left_goes_and_what_an_earlier_version_lacks_comes() {
        let run = tempfile::tempdir().unwrap();
        let leases = Leases::below(run.path());
        let (stale, kept, old) =
            (lease("stale", Use::Shared), lease("kept", Use::Shared), lease("old", Use::Private));
        leases.hold(&stale).unwrap();
        leases.hold(&kept).unwrap();
        let came = lease("came", Use::Shared);
        let wanted = || {
            // This lease comes between the two looks.
            leases.hold(&came)?;
            Ok::<_, LeaseError>(vec![kept.clone(), old.clone()])
        };
        leases.reconcile(wanted).unwrap();
        let mut names: Vec<_> = leases.all().unwrap().into_iter().map(|l| l.name).collect();
        names.sort();
        assert_eq!(names, ["came", "kept", "old"]);
    }

    #[test]
    fn bases_of_two_formats_have_leases_of_their_own() {
        let run = tempfile::tempdir().unwrap();
        let leases = Leases::below(run.path());
        let one = lease("one", Use::Shared);
        // A lease as a version without format numbers wrote it, and a lease of another format.
        let old = run.path().join("lease").join(one.base.to_string()).join("shared");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join(one.holder.to_string()), "one").unwrap();
        let other = Lease { base: format!("f2-{}", one.base).parse().unwrap(), ..one.clone() };
        assert_eq!(leases.all().unwrap(), std::slice::from_ref(&one));
        assert!(!leases.any_mount(&other.base).unwrap());
        leases.hold(&other).unwrap();
        leases.release(&one).unwrap();
        assert!(!leases.any_mount(&one.base).unwrap() && leases.any_mount(&other.base).unwrap());
        assert_eq!(leases.all().unwrap(), [other]);
    }

    #[test]
    fn many_come_and_go_at_a_time() {
        let run = tempfile::tempdir().unwrap();
        let leases = Leases::below(run.path());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let leases = &leases;
                scope.spawn(move || {
                    for n in 0..200 {
                        let lease = lease(&format!("{thread}-{n}"), Use::Shared);
                        leases.hold(&lease).unwrap();
                        assert!(leases.any(&lease.base, &Use::Shared).unwrap());
                        leases.release(&lease).unwrap();
                    }
                });
            }
        });
        assert!(leases.all().unwrap().is_empty());
    }
}
