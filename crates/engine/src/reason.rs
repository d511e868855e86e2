//! Why the engine failed, in words for users.
//!
//! The engine logs whole structures in Rust's debug form, leaves the system's reason out of what it logs, and wraps the
//! error of its init process in a message of its own channel. Users read the reason in Docker's error, and Docker
//! searches the reason for "not a directory".

use std::error::Error;

use nix::errno::Errno;
use sharedroot_sys::chain::chain;

use super::engine_log::first_error;

/// The reason if the process ended without a message.
const GONE: &str = "the container's first process ended before it was ready";

/// The best known reason why the engine failed with `error`: the first error that the engine logged, which is closest
/// to the cause, with the system's reason from the returned error.
#[must_use]
pub(crate) fn reason(error: &(dyn Error + 'static)) -> String {
    of(first_error().as_deref(), &chain(error))
}

fn of(logged: Option<&str>, returned: &str) -> String {
    let returned = undumped(plain(returned));
    if let Some(what) = controller(&returned) {
        return what;
    }
    let Some(logged) = logged.map(plain) else { return returned };
    if let Some(what) = mount(&logged) {
        return format!("{what}: {}", cause(&returned));
    }
    if let Some(what) = namespace(&logged) {
        return format!("{what}: {}", cause(&returned));
    }
    if let Some(what) = profile(&logged) {
        return format!("{what}: {}", cause(&returned));
    }
    // Fields of a log line, such as `err=Nix(EPERM)`, are not part of the message.
    let fields = [" err=", " errno=", " error=", " ret=", " e="];
    let message = fields.iter().fold(logged.as_str(), |text, field| {
        text.split_once(field).map_or(text, |(message, _)| message)
    });
    match message {
        dump if is_dump(dump) => returned,
        whole if whole.len() == logged.len() => logged,
        message => format!("{message}: {}", known(&logged, &returned)),
    }
}

/// The system's reason: the end of the returned error. If the returned error ends with a general step, the number is in
/// the log line only.
fn known(logged: &str, returned: &str) -> String {
    let number = returned.ends_with("failed to prepare rootfs").then(|| number(logged)).flatten();
    number.unwrap_or_else(|| cause(returned).to_owned())
}

/// The error number in a field such as `err=Nix(ENOENT)`, in words.
fn number(logged: &str) -> Option<String> {
    let (_, field) = logged.split_once("=Nix(")?;
    let (name, _) = field.split_once(')')?;
    let mut all = (1..=MOST_NUMBER).map(Errno::from_raw);
    all.find(|number| format!("{number:?}") == name).map(words)
}

/// Linux's last error number (errno(3)): EHWPOISON.
const MOST_NUMBER: i32 = 133;

/// The text without the wrappings of the engine's channel.
fn plain(text: &str) -> String {
    for wrapping in ["ExecFailed(\"", "OtherError(\""] {
        if let Some((_, inner)) = text.split_once(wrapping) {
            return plain(&unquoted(inner));
        }
    }
    if text.contains("failed to receive. ") {
        return GONE.to_owned();
    }
    let wrappings = [
        "exec process failed with error ",
        "error in executing process : ",
        "intermediate process error ",
    ];
    wrappings.iter().fold(text.to_owned(), |text, wrapping| text.replace(wrapping, ""))
}

/// The text without the steps that are structures: what stands before the first structure, and the cause at the end.
fn undumped(text: String) -> String {
    let Some(mark) = DUMPS.iter().filter_map(|mark| text.find(mark)).min() else { return text };
    let before = text[..mark].rsplit_once(": ").map_or("", |(before, _)| before);
    let cause = text.rsplit(": ").next().filter(|cause| !is_dump(cause)).unwrap_or_default();
    [before, cause].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// The marks of a structure in Rust's debug form.
const DUMPS: [&str; 5] = [" { ", "Some(", "Error(", "Nix(", "Flags("];

/// Whether the text contains a structure in Rust's debug form.
fn is_dump(text: &str) -> bool {
    DUMPS.iter().any(|mark| text.contains(mark))
}

/// The mount that failed, if the engine logged it: `failed to mount Mount { destination: "/d", … }: …`.
fn mount(logged: &str) -> Option<String> {
    let (_, dump) = logged.split_once("failed to mount Mount {")?;
    let field = |name: &str| {
        let (_, value) = dump.split_once(name)?;
        Some(unquoted(value))
    };
    let destination = field("destination: \"")?;
    let source = field("source: Some(\"").unwrap_or_default();
    let is_memory = field("typ: Some(\"").is_some_and(|typ| typ == "tmpfs");
    let options = dump.split_once("options: Some([").and_then(|(_, list)| list.split_once(']'));
    let options = options.filter(|_| is_memory).map_or(String::new(), |(list, _)| {
        let list = list.replace(['"', ' '], "");
        format!(" with {list}")
    });
    Some(format!("mount {source:?} at {destination:?}{options}"))
}

/// The namespace that could not be joined: `failed to set namespace err=… namespace=LinuxNamespace { typ: Ipc, path:
/// Some("…") }`.
fn namespace(logged: &str) -> Option<String> {
    let (_, dump) = logged.split_once("failed to set namespace")?;
    let (_, typ) = dump.split_once("typ: ")?;
    let (_, path) = dump.split_once("path: Some(\"")?;
    let typ = typ.split(',').next().unwrap_or_default();
    Some(format!("join the {typ} namespace {:?}", unquoted(path)))
}

/// The AppArmor profile that could not be applied: `failed to apply apparmor profile err=ActivateProfile { …, profile:
/// "…" }`.
fn profile(logged: &str) -> Option<String> {
    let (_, dump) = logged.split_once("failed to apply apparmor profile")?;
    let (_, name) = dump.split_once("profile: \"")?;
    Some(format!("apply the AppArmor profile {:?}", unquoted(name)))
}

/// The controller that a file of `unified` needs and that the host does not have. The missing file is not mentioned:
/// podman would read "no such file or directory" as a program that was not found.
fn controller(returned: &str) -> Option<String> {
    let (_, rest) = returned.split_once("subsystem ")?;
    let (name, _) = rest.split_once(" is not available: ")?;
    Some(format!("linux.resources.unified: controller {name:?} not available"))
}

/// The system's reason at the end of a chain, without the general steps before it.
fn cause(chain: &str) -> &str {
    let steps = ["failed to prepare rootfs: ", "syscall: ", "io error: ", "nix error: "];
    let mut cause = chain;
    for step in steps {
        cause = cause.split_once(step).map_or(cause, |(_, rest)| rest);
    }
    cause
}

/// The text up to its closing quote in Rust's debug form.
fn unquoted(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text.chars());
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => plain.push(' '),
                escaped => plain.extend(escaped),
            },
            other => plain.push(other),
        }
    }
    plain
}

/// An error number in the words of the C library and Go: "exec format error".
pub(crate) fn words(number: Errno) -> String {
    let text = std::io::Error::from(number).to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"failed to mount Mount { destination: "/usr/bin", typ: Some("bind"), source: Some("/tmp/a \"b\""), options: Some(["rbind"]), uid_mappings: None, gid_mappings: None }: syscall"#;
    const MEMORY: &str = r#"failed to mount Mount { destination: "/x", typ: Some("tmpfs"), source: Some("tmpfs"), options: Some(["nodev", "size=abc"]), uid_mappings: None }: syscall"#;

    #[test]
    fn a_mount_that_failed_is_named_with_the_systems_reason() {
        let returned = "exec process failed with error error in executing process : failed to prepare rootfs: syscall: \
                        ENOTDIR: Not a directory";
        let said = of(Some(FILE), returned);
        assert_eq!(said, r#"mount "/tmp/a \"b\"" at "/usr/bin": ENOTDIR: Not a directory"#);
        let early = r#"received unexpected message: ExecFailed("failed to prepare rootfs: syscall: EINVAL: Invalid argument"), expected: HookRequest"#;
        let said = of(Some(MEMORY), early);
        assert_eq!(said, r#"mount "tmpfs" at "/x" with nodev,size=abc: EINVAL: Invalid argument"#);
    }

    #[test]
    fn no_wrapping_and_no_structure_is_left() {
        let said = of(None, r#"received unexpected message: ExecFailed("set \"x\""), expected: A"#);
        assert_eq!(said, "set \"x\"");
        let gone = r#"failed to receive. "waiting for init ready". BrokenChannel"#;
        assert_eq!(of(None, gone), GONE);
        let logged = r#"failed to remount path as readonly path="/x" err=Nix(EPERM)"#;
        let said = of(Some(logged), "failed syscall: EPERM: Operation not permitted");
        assert_eq!(
            said,
            "failed to remount path as readonly path=\"/x\": EPERM: Operation not permitted"
        );
        let logged = r#"failed to mount bind dev err=Nix(ENOENT) path="/r/dev/a/node""#;
        let said = of(Some(logged), "failed to create container: failed to prepare rootfs");
        assert_eq!(said, "failed to mount bind dev: no such file or directory");
        let dump = "failed to set rlimit rlimit=PosixRlimit { typ: RlimitNofile, hard: 9 }";
        assert_eq!(
            of(Some(dump), "EPERM: Operation not permitted"),
            "EPERM: Operation not permitted"
        );
        assert_eq!(of(Some("in words"), "returned"), "in words");
        let procfs = r#"open procfs: openat2([42]</proc>, "sys/net/no", { flags: O_PATH, mode: 0 }, 24): No such file"#;
        assert_eq!(of(None, procfs), "open procfs: No such file");
        let flags = r#"pathrs create_file failed: openat([14]</r>, "x", OpenFlags(O_CREAT), 0o644): Read-only file system"#;
        assert_eq!(of(None, flags), "pathrs create_file failed: Read-only file system");
        assert_eq!(of(None, "broken: Other { source: Some(3) }"), "broken");
        let logged = r#"failed to set namespace err=Nix(EINVAL) namespace=LinuxNamespace { typ: Ipc, path: Some("/proc/1/ns/net") }"#;
        let said = of(Some(logged), "failed to set namespace: EINVAL: Invalid argument");
        assert!(said.starts_with(r#"join the Ipc namespace "/proc/1/ns/net": "#), "{said}");
        let said = of(
            None,
            "subsystem no is not available: failed to open /c/no.such: No such file or directory (os error 2)",
        );
        assert_eq!(said, r#"linux.resources.unified: controller "no" not available"#);
        let logged = r#"failed to apply apparmor profile err=ActivateProfile { path: "/p", profile: "none", source: Os { code: 2 } }"#;
        let said = of(Some(logged), "failed apparmor: No such file or directory");
        assert!(said.starts_with(r#"apply the AppArmor profile "none": "#), "{said}");
    }
}
