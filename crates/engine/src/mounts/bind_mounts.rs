//! Bind mounts that must be made before the engine makes the container: those whose propagation
//! or flags it leaves out, those of a container with a user namespace, and file systems in memory in which something is made
//! before the container has them.
//!
//! Each is a detached mount, opened while this process is still in the host's mount namespace, so
//! that a shared one stays the host's peer. Then the process gets a mount namespace of its own, in
//! which the mounts are placed below one directory where the engine finds them. On the host that
//! directory is always empty.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use libcontainer::syscall::linux::{AT_EMPTY_PATH, AT_RECURSIVE, MountAttr};
use libcontainer::syscall::syscall::create_syscall;
use nix::mount::MsFlags;
use oci_spec::runtime::{Mount, Spec};
use rustix::fs::OFlags;
use sharedroot_sys::mount::{self, Detached, MountError, Setting, Submounts};

use super::mount_flags;
use super::mount_ns::{self, MountNsError};
use super::propagation::{self, Kind, Propagation};
use super::tmpcopyup::Shape;
use super::tmpfs::{self, Content};
use crate::process::limits::has_user_namespace;
use crate::spec::error::SpecError;

/// A volume that could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BindMountError {
    /// A field that cannot be honoured.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The source, or the place for it.
    #[error("mounts[{index}] ({destination}): {source}")]
    Mount {
        /// Which of the configuration's mounts.
        index: usize,
        /// Its destination.
        destination: PathBuf,
        /// The mount's own error.
        source: MountError,
    },
    /// The mount namespace or the directory of the prepared volumes.
    #[error("prepare the volumes: {0}")]
    Stage(#[from] MountError),
    /// The container's mount namespace.
    #[error("settle the volumes: {0}")]
    Enter(#[from] MountNsError),
    /// A directory, file or descriptor on the way.
    #[error("{step} {path}: {source}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The kernel refused the propagation.
    #[error("make the volume {path} {kind:?}: {why}")]
    Propagate {
        /// The source, or the destination in the container.
        path: PathBuf,
        /// The propagation.
        kind: Kind,
        /// The library's words.
        why: String,
    },
    /// A file system in memory could not be filled: with the image's directory, or that in which the process starts.
    #[error("mounts[{index}] ({destination}): fill the file system in memory: {why}")]
    Fill {
        /// Which of the configuration's mounts.
        index: usize,
        /// Its destination.
        destination: PathBuf,
        /// What failed.
        why: String,
    },
}

/// The volumes of a container that this process prepares; usually none.
#[derive(Debug, Default)]
pub struct BindMounts {
    /// The directory where the engine finds them.
    stage: PathBuf,
    prepared: Vec<Prepared>,
    /// Placed, and without the content of their files yet.
    shapes: Vec<Filling>,
    /// What is left to do once the container is made: by destination.
    settle: Vec<(PathBuf, Propagation)>,
}

#[derive(Debug)]
struct Prepared {
    index: usize,
    destination: PathBuf,
    mount: Detached,
    content: Option<Content>,
}

#[derive(Debug)]
struct Filling {
    index: usize,
    destination: PathBuf,
    shape: Shape,
}

impl BindMounts {
    /// Opens what `spec` asks for and the engine leaves out, and makes `spec` name the prepared
    /// mounts below `stage` instead. `root` is the image, before mount points are made in it: from it
    /// `spec` learns what file systems in memory take over.
    ///
    /// # Errors
    /// [`BindMountError`]; nothing is placed yet, and all of it ends with this value.
    pub fn open(spec: &mut Spec, root: &Path, stage: &Path) -> Result<Self, BindMountError> {
        let plan = propagation::plan(spec)?;
        tmpfs::take_modes(spec.mounts_mut().as_deref_mut().unwrap_or_default(), root);
        let mapped = spec.linux().as_ref().is_some_and(|linux| linux.uid_mappings().is_some());
        // In a user namespace a file system of ours belongs to nobody.
        let start =
            spec.process().as_ref().filter(|_| !mapped).map(|process| process.cwd().as_path());
        let outside = has_user_namespace(spec);
        let mut volumes = Self { stage: stage.to_owned(), ..Self::default() };
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let mut sources = Vec::new();
        for (index, mount) in mounts.iter().enumerate() {
            let (Some(recursive), Some(source)) = (propagation::bind(mount), mount.source()) else {
                continue;
            };
            let steps = plan.volumes.iter().find(|volume| volume.index == index);
            let cleared = mount_flags::of(mount, source);
            // From inside of a user namespace the engine would not reach a source in a directory of root's.
            if steps.is_none() && cleared == 0 && !outside {
                continue;
            }
            let submounts = if recursive { Submounts::Included } else { Submounts::LeftOut };
            let bound = mount::bind_volume(source, submounts).map_err(in_mount(index, mount))?;
            if cleared != 0 {
                clear(bound.as_fd(), cleared, source)?;
            }
            let steps = steps.map_or(&[][..], |volume| &volume.steps);
            for step in steps {
                // One that nobody may bind the engine could not bind either.
                let kind = if step.kind == Kind::Unbindable { Kind::Private } else { step.kind };
                propagate(bound.as_fd(), Propagation { kind, ..*step }, source)?;
            }
            if plan.repeat && !is_covered(mounts, index) {
                let at = mount.destination();
                volumes.settle.extend(steps.iter().map(|step| (at.clone(), *step)));
            }
            sources.push(volumes.add(index, mount, bound, None));
        }
        for (index, mount) in mounts.iter().enumerate() {
            if let Some((settings, content)) = tmpfs::wanted(mount, &mounts[index + 1..], start) {
                let made = mount::tmpfs(&settings).map_err(in_mount(index, mount))?;
                sources.push(volumes.add(index, mount, made, Some(content)));
            }
        }
        let then_root = plan.then_root.map(|kind| Propagation { kind, recursive: false });
        volumes.settle.extend(then_root.map(|step| (PathBuf::from("/"), step)));
        if let Some(linux) = spec.linux_mut() {
            linux.set_rootfs_propagation(Some(plan.root.to_owned()));
        }
        for (index, source) in sources {
            let mount = &mut spec.mounts_mut().as_mut().expect("the mount was among them")[index];
            mount.set_source(Some(source));
            if propagation::bind(mount).is_none() {
                tmpfs::as_bind(mount);
            }
        }
        Ok(volumes)
    }

    fn add(
        &mut self,
        index: usize,
        mount: &Mount,
        bound: Detached,
        content: Option<Content>,
    ) -> (usize, PathBuf) {
        let path = self.stage.join(index.to_string());
        let destination = mount.destination().clone();
        self.prepared.push(Prepared { index, destination, mount: bound, content });
        (index, path)
    }

    /// Places the prepared mounts in a mount namespace of this process's own. `root` is the
    /// container's root file system, complete.
    ///
    /// # Errors
    /// [`BindMountError`]; nothing is left, for the namespace ends with this process.
    pub fn place(&mut self, root: &Path) -> Result<(), BindMountError> {
        if self.prepared.is_empty() {
            return Ok(());
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.stage);
        made.map_err(failed("make the directory", &self.stage))?;
        mount::enter_private_namespace()?;
        // In a user namespace the engine looks from outside of our own directories' reach.
        mount::tmpfs(&[Setting::Value("mode", "0711")])?.attach(&self.stage)?.keep();
        for Prepared { index, destination, mount, content } in self.prepared.drain(..) {
            let path = self.stage.join(index.to_string());
            let made = if mount.is_directory() {
                std::fs::create_dir(&path)
            } else {
                std::fs::File::create_new(&path).map(drop)
            };
            made.map_err(failed("make the mount point", &path))?;
            let placed = mount.attach(&path).map_err(|source| BindMountError::Mount {
                index,
                destination: destination.clone(),
                source,
            })?;
            placed.keep();
            if let Some(content) = content {
                let shape = content.make(root, &destination, &path);
                let shape = shape.map_err(|why| BindMountError::Fill {
                    index,
                    destination: destination.clone(),
                    why,
                })?;
                self.shapes.extend(shape.map(|shape| Filling { index, destination, shape }));
            }
        }
        Ok(())
    }

    /// Copies the content of files of the image into file systems in memory, in the container's cgroup. `root` is the
    /// same as before.
    ///
    /// # Errors
    /// [`BindMountError::Fill`].
    pub fn fill(&self, root: &Path, cgroup: Option<&Path>) -> Result<(), BindMountError> {
        self.shapes.iter().try_for_each(|Filling { index, destination, shape }| {
            shape.fill(root, destination, cgroup).map_err(|why| BindMountError::Fill {
                index: *index,
                destination: destination.clone(),
                why,
            })
        })
    }

    /// Gives the mounts of the container whose waiting init process is `pid` the propagation that
    /// the engine could not.
    ///
    /// # Errors
    /// [`BindMountError`].
    pub fn settle(&self, pid: i32) -> Result<(), BindMountError> {
        if self.settle.is_empty() {
            return Ok(());
        }
        mount_ns::enter(pid, |inside| {
            self.settle.iter().try_for_each(|(destination, step)| {
                let mount = inside
                    .open(destination, OFlags::empty())
                    .map_err(|e| failed("open the volume", destination)(e.into()))?;
                propagate(mount.as_fd(), *step, destination)
            })
        })?
    }
}

/// Whether a later mount lies over the one of this index, so that nobody reaches it.
fn is_covered(mounts: &[Mount], index: usize) -> bool {
    let own = propagation::place(&mounts[index]);
    mounts[index + 1..].iter().any(|later| own.starts_with(propagation::place(later)))
}

fn propagate(mount: BorrowedFd<'_>, step: Propagation, path: &Path) -> Result<(), BindMountError> {
    let kind = match step.kind {
        Kind::Private => MsFlags::MS_PRIVATE,
        Kind::Slave => MsFlags::MS_SLAVE,
        Kind::Shared => MsFlags::MS_SHARED,
        Kind::Unbindable => MsFlags::MS_UNBINDABLE,
    };
    let change = MountAttr { attr_set: 0, attr_clr: 0, propagation: kind.bits(), userns_fd: 0 };
    let flags = AT_EMPTY_PATH | if step.recursive { AT_RECURSIVE } else { 0 };
    create_syscall()
        .mount_setattr(mount, Path::new(""), flags, &change, size_of::<MountAttr>())
        .map_err(|e| BindMountError::Propagate {
            path: path.to_owned(),
            kind: step.kind,
            why: e.to_string(),
        })
}

/// Takes flags of the source's mount away from a bind of it; from none below.
fn clear(mount: BorrowedFd<'_>, attributes: u64, path: &Path) -> Result<(), BindMountError> {
    let change = MountAttr { attr_set: 0, attr_clr: attributes, propagation: 0, userns_fd: 0 };
    create_syscall()
        .mount_setattr(mount, Path::new(""), AT_EMPTY_PATH, &change, size_of::<MountAttr>())
        .map_err(|e| failed("change the flags of a bind of", path)(std::io::Error::other(e)))
}

fn in_mount(index: usize, mount: &Mount) -> impl FnOnce(MountError) -> BindMountError {
    let destination = mount.destination().clone();
    move |source| BindMountError::Mount { index, destination, source }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BindMountError {
    let path = path.to_owned();
    move |source| BindMountError::Step { step, path, source }
}
