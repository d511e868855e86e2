//! Bind mounts that must be made before the engine makes the container: bind mounts whose propagation or flags the
//! engine leaves out, bind mounts of a container with a user namespace, and file systems in memory that get content
//! before the container has them.
//!
//! Each is a detached mount, opened while this process is still in the host's mount namespace, so that a shared mount
//! stays a peer of the host's mount. Then the process gets a mount namespace of its own, and the mounts are placed
//! there below one directory, where the engine finds them. On the host that directory is always empty.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use libcontainer::syscall::linux::{AT_EMPTY_PATH, AT_RECURSIVE, MountAttr};
use libcontainer::syscall::syscall::create_syscall;
use nix::mount::MsFlags;
use oci_spec::runtime::{Mount, Spec};
use rustix::fs::OFlags;
use sharedroot_sys::mount::{self, Detached, Setting};

use super::bind_mount_error::{BindMountError, failed, in_mount};
use super::mount_flags;
use super::mount_ns;
use super::places::Places;
use super::propagation::{self, Kind, Propagation};
use super::propagation_plan;
use super::tmpcopyup::Shape;
use super::tmpfs::{self, Content};
use crate::process::limits::has_user_namespace;

/// The volumes of a container that this process prepares. Most containers have none.
#[derive(Debug, Default)]
pub struct BindMounts {
    /// The directory where the engine finds the mounts.
    stage: PathBuf,
    prepared: Vec<Prepared>,
    /// File systems in memory that are placed, and whose files have no content yet.
    shapes: Vec<Filling>,
    /// The propagations to set after the container is made, by destination.
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
    /// Opens the mounts of `spec` that the engine leaves out, and changes `spec` so that it names the prepared mounts
    /// below `stage`. `root` is the image before mount points are made in it: file systems in memory take modes and
    /// content from it.
    ///
    /// # Errors
    /// [`BindMountError`]. Nothing is placed yet, and the opened mounts end with this value.
    pub fn open(spec: &mut Spec, root: &Path, stage: &Path) -> Result<Self, BindMountError> {
        let plan = propagation_plan::plan(spec)?;
        tmpfs::take_modes(spec.mounts_mut().as_deref_mut().unwrap_or_default(), root);
        let mapped = spec.linux().as_ref().is_some_and(|linux| linux.uid_mappings().is_some());
        // In a user namespace, the files of a file system that this process makes would have no owner.
        let start =
            spec.process().as_ref().filter(|_| !mapped).map(|process| process.cwd().as_path());
        let outside = has_user_namespace(spec);
        let mut volumes = Self { stage: stage.to_owned(), ..Self::default() };
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let places = Places::from_iter(mounts.iter().map(propagation::place));
        let mut sources = Vec::new();
        for (index, mount) in mounts.iter().enumerate() {
            let (Some(submounts), Some(source)) = (propagation::bind(mount), mount.source()) else {
                continue;
            };
            let found = plan.volumes.binary_search_by_key(&index, |volume| volume.index);
            let steps = found.ok().map(|at| &plan.volumes[at]);
            let cleared = mount_flags::of(mount, source);
            // From inside a user namespace, the engine could not reach a source in a directory that only root may
            // enter.
            if steps.is_none() && cleared == 0 && !outside {
                continue;
            }
            let bound = mount::bind_volume(source, submounts).map_err(in_mount(index, mount))?;
            if cleared != 0 {
                clear(bound.as_fd(), cleared, source)?;
            }
            let steps = steps.map_or(&[][..], |volume| &volume.steps);
            for step in steps {
                // If the source may not be bound, the engine could not bind it either, and reports that.
                let kind = if step.kind == Kind::Unbindable { Kind::Private } else { step.kind };
                propagate(bound.as_fd(), Propagation { kind, ..*step }, source)?;
            }
            // If a later mount covers this one, no process can reach this one.
            if plan.repeat && places.over(&propagation::place(mount)) == Some(index) {
                let at = mount.destination();
                volumes.settle.extend(steps.iter().map(|step| (at.clone(), *step)));
            }
            sources.push(volumes.add(index, mount, bound, None));
        }
        let insides = tmpfs::insides(mounts, start);
        for ((index, mount), inside) in mounts.iter().enumerate().zip(insides) {
            if let Some((settings, content)) = tmpfs::wanted(mount, inside) {
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

    /// Places the prepared mounts in a mount namespace of this process's own. `root` is the container's complete root
    /// file system.
    ///
    /// # Errors
    /// [`BindMountError`]. Nothing is left behind, because the namespace ends with this process.
    pub fn place(&mut self, root: &Path) -> Result<(), BindMountError> {
        if self.prepared.is_empty() {
            return Ok(());
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.stage);
        made.map_err(failed("make the directory", &self.stage))?;
        mount::enter_private_namespace()?;
        // In a user namespace the engine has no right to enter sharedroot's own directories, so the mode is 0711.
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

    /// Copies the content of the image's files into the file systems in memory, as a process in the container's cgroup.
    /// `root` is the root that [`BindMounts::place`] got.
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

    /// Sets the propagations that the engine does not set, in the container whose waiting init process is `pid`.
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

/// Clears flags that a bind mount has from its source's mount. The mounts below the source keep their flags.
fn clear(mount: BorrowedFd<'_>, attributes: u64, path: &Path) -> Result<(), BindMountError> {
    let change = MountAttr { attr_set: 0, attr_clr: attributes, propagation: 0, userns_fd: 0 };
    create_syscall()
        .mount_setattr(mount, Path::new(""), AT_EMPTY_PATH, &change, size_of::<MountAttr>())
        .map_err(|e| failed("change the flags of a bind of", path)(std::io::Error::other(e)))
}
