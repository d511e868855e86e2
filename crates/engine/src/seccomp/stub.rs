//! The instructions before libseccomp's filter: ENOSYS for a system call above the largest that the profile names.

use std::collections::BTreeMap;

use libseccomp::{ScmpArch, ScmpSyscall};
use nix::libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, ENOSYS,
    SECCOMP_RET_ERRNO, sock_filter,
};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};

use super::arch::token;

/// `offsetof(struct seccomp_data, nr)` and `arch` of `linux/seccomp.h`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
/// x32's calls have the numbers of x86_64's, with this bit set (`__X32_SYSCALL_BIT` of `asm/unistd.h`).
const X32_BIT: u32 = 1 << 30;
/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_S390` and `AUDIT_ARCH_S390X` of `linux/audit.h`.
const X86_64: u32 = 0xC000_003E;
const S390: [u32; 2] = [0x16, 0x8000_0016];
/// setup(2), whose number s390's kernel passes for a number that is too large.
const S390_SETUP: u32 = 0;

/// The largest call that the profile names, for each kind of call numbers of an architecture.
#[derive(Debug, Default, Clone, Copy)]
struct Largest {
    plain: Option<u32>,
    x32: Option<u32>,
}

/// The stub of `filter`. As with runc, it is empty if unknown calls are allowed or already return ENOSYS.
pub fn of(filter: &LinuxSeccomp) -> Vec<sock_filter> {
    use LinuxSeccompAction as Action;
    let permissive = matches!(
        filter.default_action(),
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace
    );
    if permissive || filter.default_errno_ret() == Some(ENOSYS as u32) {
        return Vec::new();
    }
    let mut all: BTreeMap<u32, Largest> = BTreeMap::new();
    // Calls of other architectures get the action of libseccomp's filter.
    for arch in filter.architectures().iter().flatten().map(|arch| token(*arch)) {
        let number = |name: &String| ScmpSyscall::from_name_by_arch(name, arch).ok();
        let names = filter.syscalls().iter().flatten().flat_map(|rule| rule.names());
        // libseccomp gives a negative number to a call that the architecture does not have.
        let numbers =
            names.filter_map(number).filter_map(|call| u32::try_from(i32::from(call)).ok());
        let (Some(audit), largest) = (audit(arch), numbers.max().filter(|largest| *largest > 0))
        else {
            continue;
        };
        let known = all.entry(audit).or_default();
        *(if arch == ScmpArch::X32 { &mut known.x32 } else { &mut known.plain }) = largest;
    }
    let sections: Vec<_> =
        all.into_iter().map(|(audit, largest)| section(audit, largest)).collect();
    let mut left = sections.iter().map(Vec::len).sum::<usize>();
    let mut program = vec![load(ARCH)];
    for mut section in sections {
        for instruction in &mut section {
            left -= 1;
            // The jump leads to libseccomp's filter, which begins where the stub ends.
            if instruction.code == (BPF_JMP | BPF_JA) as u16 {
                instruction.k = u32::try_from(left).unwrap_or(u32::MAX);
            }
        }
        program.extend(section);
    }
    program
}

/// The instructions for calls of one architecture. The architecture's number is loaded already; calls of other architectures
/// skip these instructions.
fn section(audit: u32, largest: Largest) -> Vec<sock_filter> {
    let above = |largest: Option<u32>| match largest {
        Some(number) => vec![jump(BPF_JGT, number, 0, 1), enosys(), on()],
        None => vec![on()],
    };
    let mut inner = vec![load(NUMBER)];
    if audit == X86_64 {
        let x32 = above(largest.x32);
        inner.push(jump(BPF_JSET, X32_BIT, 0, x32.len()));
        inner.extend(x32);
    } else if S390.contains(&audit) {
        inner.extend([jump(BPF_JEQ, S390_SETUP, 0, 1), enosys()]);
    }
    inner.extend(above(largest.plain));
    let mut section = vec![jump(BPF_JEQ, audit, 0, inner.len())];
    section.extend(inner);
    section
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(condition: u32, k: u32, jt: usize, jf: usize) -> sock_filter {
    let skip = |n| u8::try_from(n).expect("a section has some ten instructions");
    sock_filter { code: (BPF_JMP | condition | BPF_K) as u16, jt: skip(jt), jf: skip(jf), k }
}

fn enosys() -> sock_filter {
    sock_filter {
        code: (BPF_RET | BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: SECCOMP_RET_ERRNO | ENOSYS as u32,
    }
}

/// A jump to libseccomp's filter. Its distance is filled in later.
fn on() -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JA) as u16, jt: 0, jf: 0, k: 0 }
}

/// The kernel's number of an architecture (`AUDIT_ARCH_…` of `linux/audit.h`). `None` if runc has no stub for it.
fn audit(arch: ScmpArch) -> Option<u32> {
    Some(match arch {
        ScmpArch::X86 => 0x4000_0003,
        ScmpArch::X8664 | ScmpArch::X32 => X86_64,
        ScmpArch::Arm => 0x4000_0028,
        ScmpArch::Aarch64 => 0xC000_00B7,
        ScmpArch::Loongarch64 => 0xC000_0102,
        ScmpArch::Mips => 0x0000_0008,
        ScmpArch::Mips64 => 0x8000_0008,
        ScmpArch::Mips64N32 => 0xA000_0008,
        ScmpArch::Mipsel => 0x4000_0008,
        ScmpArch::Mipsel64 => 0xC000_0008,
        ScmpArch::Mipsel64N32 => 0xE000_0008,
        ScmpArch::Ppc => 0x0000_0014,
        ScmpArch::Ppc64 => 0x8000_0015,
        ScmpArch::Ppc64Le => 0xC000_0015,
        ScmpArch::S390 => S390[0],
        ScmpArch::S390X => S390[1],
        ScmpArch::Riscv64 => 0xC000_00F3,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xC000_00B7;

    fn stub(text: &str) -> Vec<sock_filter> {
        of(&serde_json::from_str(text).unwrap())
    }

    /// The stub's result for a call; `None` if libseccomp's filter decides.
    fn returns(program: &[sock_filter], arch: u32, number: u32) -> Option<u32> {
        let (mut at, mut loaded) = (0, 0);
        while let Some(step) = program.get(at) {
            at += 1;
            let condition = |met: bool| usize::from(if met { step.jt } else { step.jf });
            match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    loaded = if step.k == ARCH { arch } else { number };
                }
                code if code == BPF_RET | BPF_K => return Some(step.k),
                code if code == BPF_JMP | BPF_JA => at += step.k as usize,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => at += condition(loaded == step.k),
                code if code == BPF_JMP | BPF_JGT | BPF_K => at += condition(loaded > step.k),
                code if code == BPF_JMP | BPF_JSET | BPF_K => at += condition(loaded & step.k != 0),
                code => panic!("instruction {code:#x}"),
            }
        }
        assert_eq!(at, program.len(), "the stub ends where the filter begins");
        None
    }

    const UNKNOWN: Option<u32> = Some(SECCOMP_RET_ERRNO | ENOSYS as u32);

    #[test]
    fn a_call_above_the_largest_is_unknown_on_each_architecture() {
        let program = stub(
            r#"{"defaultAction":"SCMP_ACT_ERRNO",
                "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32","SCMP_ARCH_AARCH64"],
                "syscalls":[{"names":["read","getcwd"],"action":"SCMP_ACT_ALLOW"},
                            {"names":["openat2","no_such_call"],"action":"SCMP_ACT_ERRNO"}]}"#,
        );
        // openat2 is 437 everywhere.
        for (arch, bit) in [(X86_64, 0), (X86, 0), (X86_64, X32_BIT), (AARCH64, 0)] {
            for number in [0, 1, 3, 200, 437] {
                assert_eq!(returns(&program, arch, bit | number), None, "{arch:x} {number}");
            }
            for number in [438, 463, 1000, X32_BIT - 1] {
                assert_eq!(returns(&program, arch, bit | number), UNKNOWN, "{arch:x} {number}");
            }
        }
        assert_eq!(returns(&program, 0x8000_0016, 1000), None, "not in the filter");
    }

    #[test]
    fn x32_is_none_of_x86_64s() {
        let plain = stub(
            r#"{"defaultAction":"SCMP_ACT_KILL","architectures":["SCMP_ARCH_X86_64"],
                "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},
                            {"names":["write"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        assert_eq!(returns(&plain, X86_64, X32_BIT | 500), None);
        assert_eq!(returns(&plain, X86_64, 2), UNKNOWN, "also where the default kills");
    }

    #[test]
    fn s390_hides_a_large_number_in_setup() {
        let program = stub(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_S390X"],
                "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        let s390x = S390[1];
        assert_eq!(returns(&program, s390x, 0), UNKNOWN);
        assert_eq!((returns(&program, s390x, 3), returns(&program, s390x, 4)), (None, UNKNOWN));
    }

    #[test]
    fn no_stub_where_an_unknown_call_is_allowed_or_enosys() {
        let rest = r#""architectures":["SCMP_ARCH_X86_64"],
            "syscalls":[{"names":["read","write"],"action":"SCMP_ACT_KILL"}]"#;
        for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] {
            assert!(
                stub(&format!(r#"{{"defaultAction":"{action}",{rest}}}"#)).is_empty(),
                "{action}"
            );
        }
        let enosys = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,{rest}}}"#);
        assert!(stub(&enosys).is_empty());
        for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"]
        {
            let program = stub(&format!(r#"{{"defaultAction":"{action}",{rest}}}"#));
            assert_eq!(returns(&program, X86_64, 2), UNKNOWN, "{action}");
        }
    }
}
