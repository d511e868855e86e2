//! Command lines of sharedroot in the flags of other runtimes.

use std::ffi::OsString;

use clap::Parser;

use super::*;
use crate::cli::Cli;

/// A command line of sharedroot in the flags of another runtime.
fn said(dialect: Dialect, line: &str) -> Result<String, &'static str> {
    let words = ["sharedroot"].into_iter().chain(line.split_whitespace());
    let cli = Cli::try_parse_from(words).unwrap();
    let (global, argv) = (global(&cli.global), of(dialect, &cli.verb));
    assert_eq!(argv.verb(), cli.verb.name());
    let all = global.words()?.iter().chain(argv.words()?);
    let text = |word: &OsString| word.to_str().unwrap().to_owned();
    Ok(all.map(text).collect::<Vec<_>>().join(" "))
}

#[test]
fn every_flag_goes_through() {
    for (line, words) in [
        (
            "--root /r --log /l --log-format json --debug --systemd-cgroup create --bundle /b \
             --console-socket /s --pid-file /p --preserve-fds 2 --no-pivot --no-new-keyring c",
            "--log=/l --log-format=json --debug --systemd-cgroup create \
             --bundle=/b --console-socket=/s --pid-file=/p --preserve-fds=2 --no-pivot \
             --no-new-keyring -- c",
        ),
        ("run -b /b -d --keep c", "--log-format=text run --bundle=/b --detach --keep -- c"),
        ("kill -a c", "--log-format=text kill --all -- c TERM"),
        ("kill c 9", "--log-format=text kill -- c 9"),
        ("delete -f c", "--log-format=text delete --force -- c"),
        (
            "exec -e A=b=c -e D= -t -u 1:2 --cwd /x -c CAP_KILL --cgroup sub c sh -c -x",
            "--log-format=text exec --cwd=/x --env=A=b=c --env=D= --tty \
             --user=1:2 --cap=CAP_KILL --cgroup=sub -- c sh -c -x",
        ),
        (
            "exec -d -p /p.json --pid-file /pid c",
            "--log-format=text exec --process=/p.json --detach --pid-file=/pid \
             -- c",
        ),
        (
            "update -r - --memory-swap -1 --cpu-share 2 c",
            "--log-format=text update --resources=- --memory-swap=-1 \
             --cpu-share=2 -- c",
        ),
        (
            "checkpoint --image-path /i --leave-running c",
            "--log-format=text checkpoint --image-path=/i --leave-running -- c",
        ),
        (
            "restore -b /b -d --image-path /i c",
            "--log-format=text restore --image-path=/i --bundle=/b --detach -- c",
        ),
    ] {
        for dialect in [Dialect::Runc, Dialect::Crun] {
            assert_eq!(said(dialect, line).as_deref(), Ok(words));
        }
    }
}

#[test]
fn what_crun_does_not_have_is_named() {
    for (line, unknown) in [
        ("events --stats c", "events"),
        ("exec --ignore-paused c id", "--ignore-paused"),
        ("ps c -o pid", "options for ps(1)"),
        ("update --cpu-idle 1 c", "--cpu-idle"),
        ("checkpoint --lazy-pages c", "--lazy-pages"),
    ] {
        assert_eq!(said(Dialect::Crun, line), Err(unknown));
        assert!(said(Dialect::Runc, line).is_ok());
    }
}

#[test]
fn an_id_never_becomes_a_flag() {
    let words = said(Dialect::Runc, "delete -- --force").unwrap();
    assert!(words.ends_with("delete -- --force"), "{words}");
}
