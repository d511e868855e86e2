//! Owner, mode, times and extended attributes of an inode, made like another's, in steps of one order.
//!
//! A write-back can stop after each step. What is there then must lend nobody a right that neither file lends, and the next
//! start must know it for what a write-back left, not for a copy of somebody's (`entry.rs`).

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, SPECIAL, Xattrs, modified, same_time, xattrs};
use super::error::{Failed, doing};
use super::node::{Node, kind};
use super::rights::{ACL, Rights, UNFINISHED, owner};

/// The steps, in their order.
pub(super) const STEPS: [Step; 6] =
    [Step::Withdraw, Step::Owner, Step::Xattrs, Step::Time, Step::Acl, Step::Mode];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A regular file gets the mode of an unfinished one. Any other inode keeps only the permissions that both inodes give, until
    /// it has its own mode. If the owner is to change, these are none: the ones that the inode has are not for the new owner. If
    /// the ACL is to change, these are the owner's: without the ACL, its mask would be the group's permissions.
    Withdraw,
    /// A change of owner takes set-user-ID bits and capabilities away (chown(2)), so both come later.
    Owner,
    /// All but the ACL.
    Xattrs,
    /// No later step changes the time.
    Time,
    /// An ACL replaces the permission bits of the mode (acl(5)), so a regular file does not count as unfinished any more: the
    /// ACL comes when only bits of the mode are left to do.
    Acl,
    /// A file with its mode is finished.
    Mode,
}

impl Attributes {
    /// Gives `to` the same, and returns whether anything was to do. An extended attribute that `to` does not take keeps it from
    /// nothing else; but without its ACL it does not get the permissions that the ACL limits.
    pub(super) fn give(&self, to: &Node) -> Result<bool, Failed> {
        const STEP: &str = "set the attributes of";
        let (changed, refused) = self.give_all(to).map_err(doing(STEP))?;
        match refused {
            Some(source) => Err(doing(STEP)(source).without_content()),
            None => Ok(changed),
        }
    }

    /// Takes away from `to`, a directory, the permissions that this counterpart does not give: what is going to be in the directory
    /// is not for the people who have them. Returns whether anything was to do.
    pub(super) fn withdraw(&self, to: &Node) -> Result<bool, Errno> {
        let mut giving = Giving::new(self, to)?;
        giving.take(Step::Withdraw)?;
        Ok(giving.changed)
    }

    fn give_all(&self, to: &Node) -> Result<(bool, Option<Errno>), Errno> {
        let mut giving = Giving::new(self, to)?;
        STEPS.into_iter().try_for_each(|step| giving.take(step))?;
        Ok((giving.changed, giving.refused))
    }
}

/// What an inode has while it is made like another.
#[derive(Debug)]
pub(super) struct Giving<'a> {
    wanted: &'a Attributes,
    to: &'a Node,
    now: Stat,
    has: Xattrs,
    /// Its permissions were withdrawn, and with them what its ACL allowed.
    withdrawn: bool,
    changed: bool,
    /// Why an extended attribute could not be set.
    refused: Option<Errno>,
    /// The one that was refused is the ACL.
    lacks_acl: bool,
}

impl<'a> Giving<'a> {
    /// Looks at `to` anew: what was written since changed it.
    pub(super) fn new(wanted: &'a Attributes, to: &'a Node) -> Result<Self, Errno> {
        let (now, has) = (rustix::fs::fstat(to)?, xattrs(to)?);
        let (withdrawn, changed, refused, lacks_acl) = (false, false, None, false);
        Ok(Self { wanted, to, now, has, withdrawn, changed, refused, lacks_acl })
    }

    pub(super) fn take(&mut self, step: Step) -> Result<(), Errno> {
        match step {
            Step::Withdraw => self.withdraw(),
            Step::Owner => self.give_owner(),
            Step::Xattrs => self.give_xattrs(),
            Step::Time => self.give_time(),
            Step::Acl => self.give_acl(),
            Step::Mode => self.give_mode(),
        }
    }

    fn withdraw(&mut self) -> Result<(), Errno> {
        let wanted = &self.wanted.stat;
        let lacks_only_its_mode = || {
            owner(wanted) == owner(&self.now)
                && same_time(wanted, &self.now)
                && self.has == self.wanted.xattrs
        };
        let mode = match kind(&self.now) {
            FileType::RegularFile if lacks_only_its_mode() => return Ok(()),
            FileType::RegularFile => UNFINISHED,
            FileType::Symlink => return Ok(()),
            _ => self.given_by_both(),
        };
        self.withdrawn = self.now.st_mode & 0o7777 != mode.as_raw_mode();
        self.set_mode(mode)
    }

    /// The permissions that the inode has now and keeps. The sticky bit only restricts, so it comes early.
    fn given_by_both(&self) -> Mode {
        let (wanted, now) = (&self.wanted.stat, &self.now);
        let rights = Rights::of(wanted, Some(now));
        let same_acl = self.has.get(ACL) == self.wanted.xattrs.get(ACL);
        let rights = if same_acl { rights } else { rights.of_owner_only() };
        let special = Mode::from_raw_mode(now.st_mode) & SPECIAL;
        rights.mode | special | Mode::from_raw_mode(wanted.st_mode) & Mode::SVTX
    }

    fn give_owner(&mut self) -> Result<(), Errno> {
        let wanted = owner(&self.wanted.stat);
        if wanted == owner(&self.now) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(wanted.0), Gid::from_raw(wanted.1));
        rustix::fs::chownat(self.to, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        // Looked at anew: a capability is gone.
        self.has = xattrs(self.to)?;
        self.look_again()
    }

    fn give_xattrs(&mut self) -> Result<(), Errno> {
        let wanted = &self.wanted.xattrs;
        for name in self.has.keys().filter(|name| !wanted.contains_key(*name)) {
            match rustix::fs::removexattr(self.to.path(), name.as_c_str()) {
                Err(Errno::NODATA) => {}
                removed => removed?,
            }
            self.changed = true;
        }
        let differs = |name, value| name != ACL && self.has.get(name) != Some(value);
        for (name, value) in wanted.iter().filter(|(name, value)| differs(name.as_c_str(), value)) {
            self.changed = true;
            match rustix::fs::setxattr(self.to.path(), name.as_c_str(), value, XattrFlags::empty())
            {
                // The container could not have had it on the engine's root either.
                Err(Errno::OPNOTSUPP) => {
                    tracing::warn!(
                        "the engine's file system takes no attribute {name:?}: left out"
                    );
                }
                Err(errno) if is_refusal(errno) => self.refused = Some(errno),
                set => set?,
            }
        }
        Ok(())
    }

    fn give_time(&mut self) -> Result<(), Errno> {
        if same_time(&self.wanted.stat, &self.now) {
            return Ok(());
        }
        let (seconds, nanoseconds) = modified(&self.wanted.stat);
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, self.to.path(), &times, AtFlags::empty())?;
        self.changed = true;
        Ok(())
    }

    fn give_acl(&mut self) -> Result<(), Errno> {
        let Some(acl) = self.wanted.xattrs.get(ACL) else { return Ok(()) };
        if !self.withdrawn && self.has.get(ACL) == Some(acl) {
            return Ok(());
        }
        match rustix::fs::setxattr(self.to.path(), ACL, acl, XattrFlags::empty()) {
            Err(errno) if errno == Errno::OPNOTSUPP || is_refusal(errno) => {
                self.refused = Some(errno);
                self.lacks_acl = true;
            }
            set => set?,
        }
        self.look_again()
    }

    fn give_mode(&mut self) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(self.wanted.stat.st_mode & 0o7777);
        match kind(&self.now) {
            FileType::Symlink => Ok(()),
            // It stays unfinished, and whoever leaves it out gives it a part's mode (`part.rs`).
            FileType::RegularFile if self.lacks_acl => Ok(()),
            _ if self.lacks_acl => self.set_mode(mode & Mode::RWXU),
            _ => self.set_mode(mode),
        }
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), Errno> {
        if self.now.st_mode & 0o7777 == mode.as_raw_mode() {
            return Ok(());
        }
        rustix::fs::chmod(self.to.path(), mode)?;
        self.look_again()
    }

    /// After a change of what `stat` shows.
    fn look_again(&mut self) -> Result<(), Errno> {
        self.changed = true;
        self.now = rustix::fs::fstat(self.to)?;
        Ok(())
    }
}

/// Whether an attribute does not fit into the inode's own room, or the disk is full: ext4 says the same of both.
fn is_refusal(errno: Errno) -> bool {
    use Errno as E;
    [E::NOSPC, E::DQUOT, E::TOOBIG, E::RANGE, E::PERM, E::INVAL, E::NAMETOOLONG].contains(&errno)
}
