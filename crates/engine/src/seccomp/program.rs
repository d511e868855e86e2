//! A seccomp filter as runc loads it: libseccomp's filter, with a stub before it.
//!
//! A system call that is newer than the profile gets the default action of libseccomp's filter. With Docker's profile
//! that is EPERM, and a C library then gives up, while it would use an older call after ENOSYS. So a stub in the same
//! program returns ENOSYS for each number above the largest that the profile names (runc's
//! `libcontainer/seccomp/patchbpf`). A separate filter cannot do that: of two filters the stricter action counts
//! (seccomp(2)).

use std::io::{self, Read};

use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::arch::token;
use super::stub;

/// A filter could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The profile notifies an agent, and names no socket of an agent.
    #[error("linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath")]
    Notify,
    /// libseccomp refuses a part of the profile.
    #[error("linux.seccomp: make the filter")]
    Make(#[from] libseccomp::error::SeccompError),
    /// The filter cannot be read from libseccomp.
    #[error("linux.seccomp: read the filter that libseccomp made")]
    Read(#[from] io::Error),
}

/// The program of a filter, ready to be loaded.
#[derive(Debug, Clone)]
pub struct Program {
    instructions: Vec<libc::sock_filter>,
    flags: libc::c_ulong,
}

impl Program {
    /// Makes the program of `filter`. This runs outside of the container and its limits.
    ///
    /// # Errors
    /// [`SeccompError`].
    pub fn of(filter: &LinuxSeccomp) -> Result<Self, SeccompError> {
        let notify = LinuxSeccompAction::ScmpActNotify;
        let mut actions = filter.syscalls().iter().flatten().map(LinuxSyscall::action);
        if filter.default_action() == notify || actions.any(|action| action == notify) {
            return Err(SeccompError::Notify);
        }
        let context = context(filter)?;
        // A pipe has room for any program: the largest (BPF_MAXINSNS) is half as large as the pipe. If there were no
        // room, the write would fail and not wait.
        let (mut reader, writer) = io::pipe()?;
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
        context.export_bpf(&writer)?;
        drop(writer);
        let mut rules = Vec::new();
        reader.read_to_end(&mut rules)?;
        let mut instructions = stub::of(filter);
        instructions.extend(rules.chunks_exact(size_of::<libc::sock_filter>()).map(instruction));
        Ok(Self { instructions, flags: flags(filter) })
    }

    /// Loads the program into this thread, which needs CAP_SYS_ADMIN or no_new_privs.
    ///
    /// # Errors
    /// Why the kernel refuses the program.
    pub fn load(&self) -> Result<(), String> {
        let count = self.instructions.len();
        sharedroot_sys::seccomp::load(&self.instructions, self.flags)
            .map_err(|e| format!("load the seccomp filter of {count} instructions: {e}"))
    }
}

fn context(filter: &LinuxSeccomp) -> Result<ScmpFilterContext, libseccomp::error::SeccompError> {
    let default = action(filter.default_action(), filter.default_errno_ret());
    let mut context = ScmpFilterContext::new(default)?;
    for arch in filter.architectures().iter().flatten() {
        context.add_arch(token(*arch))?;
    }
    for rule in filter.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret());
        // libseccomp refuses a rule with the default action.
        if action == default {
            continue;
        }
        for name in rule.names() {
            // If libseccomp does not know a name, the call belongs to another kernel.
            if let Ok(call) = ScmpSyscall::from_name(name) {
                add(&mut context, action, call, rule)?;
            }
        }
    }
    Ok(context)
}

/// libseccomp allows one comparison of an argument in a rule. Several comparisons of one argument become rules of their
/// own, as with runc.
fn add(
    context: &mut ScmpFilterContext,
    action: ScmpAction,
    call: ScmpSyscall,
    rule: &LinuxSyscall,
) -> Result<(), libseccomp::error::SeccompError> {
    let args = rule.args().as_deref().unwrap_or_default();
    let compared: Vec<_> = args.iter().map(comparison).collect();
    let twice = |at: usize| args[..at].iter().any(|arg| arg.index() == args[at].index());
    if (0..args.len()).any(twice) {
        for one in &compared {
            context.add_rule_conditional(action, call, std::slice::from_ref(one))?;
        }
    } else {
        context.add_rule_conditional(action, call, &compared)?;
    }
    Ok(())
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    use LinuxSeccompOperator as Operator;
    let operator = match arg.op() {
        Operator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        Operator::ScmpCmpLt => ScmpCompareOp::Less,
        Operator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        Operator::ScmpCmpEq => ScmpCompareOp::Equal,
        Operator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        Operator::ScmpCmpGt => ScmpCompareOp::Greater,
        // The mask is the first value; the second is the value to compare with (seccomp_rule_add(3)).
        Operator::ScmpCmpMaskedEq => ScmpCompareOp::MaskedEqual(arg.value()),
    };
    let datum = match arg.op() {
        Operator::ScmpCmpMaskedEq => arg.value_two().unwrap_or(0),
        _ => arg.value(),
    };
    ScmpArgCompare::new(u32::try_from(arg.index()).unwrap_or(u32::MAX), operator, datum)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => {
            ScmpAction::Errno(i32::try_from(errno).unwrap_or(i32::MAX))
        }
        LinuxSeccompAction::ScmpActTrace => {
            ScmpAction::Trace(u16::try_from(errno).unwrap_or(u16::MAX))
        }
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
    }
}

fn flags(filter: &LinuxSeccomp) -> libc::c_ulong {
    let bit = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
            libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        }
    };
    filter.flags().iter().flatten().map(bit).fold(0, |all, one| all | one)
}

fn instruction(bytes: &[u8]) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}
