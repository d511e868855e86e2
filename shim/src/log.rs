//! Where messages go: the log file that the caller named, in runc's form, standard error, and the journal.
//!
//! | message | log file | standard error | journal |
//! |---|---|---|---|
//! | error | yes | yes | yes |
//! | warning | yes | without a log file | yes |
//! | information | yes | with `--debug` and no log file | yes |
//! | [`STORY`]: what happened to the container | with `--debug` | with `--debug` and no log file | yes |
//! | [`ASIDE`]: information that a story message has, too | yes | with `--debug` and no log file | no |
//! | debug, with the time of each step | with `--debug` | with `--debug` and no log file | with `--debug` |
//! | the engine's message: its place in the engine's source, not its text | with `--debug` | with `--debug` and no log file | no |
//!
//! Story messages are not in the log file: an engine keeps the log file in memory as long as the container lives, and it would
//! have a line for every health check. The text of an engine's message may have the environment and the arguments of a
//! container in it, so it is never written. No message of this program has them: all are in this repository, and
//! `tests/tests/vm_journal.rs` checks them.
//!
//! Docker shows the `msg` of the last line whose `level` is `error`. So exactly one such line is written, by `run` in lib.rs.

mod journal;
mod whole;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use sharedroot_engine::engine_log;
use sharedroot_format::ContainerId;
use sharedroot_sys::chain::readable;
use sharedroot_sys::say_aside;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

pub use journal::deliver;
pub use whole::whole;

use crate::cli::{Cli, Global, LogFormat};

/// The target of a message that tells what happened to the container of the command.
pub const STORY: &str = "sharedroot::story";
/// The target of a message whose information a story message has, too.
pub const ASIDE: &str = "sharedroot::aside";

/// Starts logging for this process, which executes a command line.
///
/// # Errors
/// The log file cannot be opened, or there is no descriptor left for what the engine logs.
pub fn start(cli: &Cli) -> std::io::Result<()> {
    let file = cli.global.log.as_deref().map(open).transpose()?;
    begin(&cli.global, file)?;
    journal::begin(&cli.verb);
    Ok(())
}

/// Starts logging for this process, which does a verb of a program that is no command line. `file` takes the place of the
/// log file.
///
/// # Errors
/// There is no descriptor left for what the engine logs.
pub fn start_for(
    global: &Global,
    verb: &'static str,
    container: &ContainerId,
    file: Option<File>,
) -> std::io::Result<()> {
    begin(global, file)?;
    journal::begin_with(verb, container);
    Ok(())
}

fn begin(global: &Global, file: Option<File>) -> std::io::Result<()> {
    let file = file.map(Mutex::new);
    engine_log::open()?;
    let lines = Lines { file, format: global.log_format, debug: global.debug };
    // A second call in one process would be a mistake in this program. The first call stays in force.
    let _ = tracing::subscriber::set_global_default(lines);
    // An engine shows its user the last error in the log file. Without this line, the user would see only the exit code of a
    // panic.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(
            "this is a fault of sharedroot or of a library in it, please report it: {panic}"
        );
    }));
    Ok(())
}

/// Opens a regular file, or the FIFO that containerd's shim has made.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

struct Lines {
    file: Option<Mutex<File>>,
    format: LogFormat,
    debug: bool,
}

/// Spans are not looked at. So this is no layer on the registry of tracing-subscriber, which makes room for 4,096 threads at the
/// start of every command.
impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let (level, ours) = (*metadata.level(), is_ours(metadata));
        // The engine logs each error that it returns. The returned error is reported.
        !metadata.is_span()
            && (self.debug
                || (!ours && level == Level::ERROR)
                || (ours
                    && (self.writes(metadata) || (journal::is_told() && level <= Level::INFO))))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        (!self.debug).then_some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        if !is_ours(metadata) {
            self.engines(metadata, &text.0);
            return;
        }
        let text = readable(&text.0);
        if metadata.target() != ASIDE {
            journal::keep(*metadata.level(), &text);
        }
        if self.writes(metadata) {
            let level = match *metadata.level() {
                Level::ERROR => "error",
                Level::WARN => "warning",
                Level::INFO => "info",
                _ => "debug",
            };
            self.write(level, &text);
        }
    }

    // Never called, because no span is enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Lines {
    /// Whether a message of this program goes to the log file, or to standard error if there is no log file.
    fn writes(&self, metadata: &Metadata<'_>) -> bool {
        // A terminal shows failures and warnings. The log file also has the decisions.
        let most = if self.file.is_some() { Level::INFO } else { Level::WARN };
        self.debug || (*metadata.level() <= most && metadata.target() != STORY)
    }

    /// Handles a message of the engine.
    fn engines(&self, metadata: &Metadata<'_>, words: &str) {
        if *metadata.level() == Level::ERROR {
            engine_log::keep(words);
        }
        if self.debug {
            let line = metadata.line().unwrap_or_default();
            self.write("debug", &format!("the engine is at line {line} of {}", metadata.target()));
        }
    }

    fn write(&self, level: &str, text: &str) {
        match &self.file {
            Some(file) => {
                let line = line(self.format, level, text, &now());
                if let Ok(mut file) = file.lock() {
                    let _ = file.write_all(line.as_bytes());
                }
                if level == "error" {
                    say_aside!("sharedroot: {text}");
                }
            }
            None => say_aside!("sharedroot: {level}: {text}"),
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("sharedroot")
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

fn line(format: LogFormat, level: &str, msg: &str, time: &str) -> String {
    match format {
        LogFormat::Json => {
            format!("{}\n", serde_json::json!({ "level": level, "msg": msg, "time": time }))
        }
        LogFormat::Text => format!("time={time:?} level={level} msg={msg:?}\n"),
    }
}

/// The text of a message, and the fields of the message after the text.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}{}", self.0);
        } else {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn json_lines_have_the_keys_that_docker_reads() {
        let text = line(LogFormat::Json, "error", "a \"quoted\"\nreason", "2026-01-02T03:04:05Z");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"quoted\"\nreason");
        assert_eq!(value["time"], "2026-01-02T03:04:05Z");
        assert_eq!(text.matches('\n').count(), 1);
    }

    /// `whole` asks whether a debug message would be logged.
    #[test]
    fn with_debug_each_message_is_enabled_and_no_span() {
        let lines = Lines { file: None, format: LogFormat::Text, debug: true };
        tracing::subscriber::with_default(lines, || {
            assert!(tracing::enabled!(Level::DEBUG));
            assert!(tracing::error_span!("a step of the engine").is_disabled());
        });
    }

    #[test]
    fn no_message_has_the_number_of_an_error() {
        let (mut read, written) = std::io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(written));
        let lines = Lines { file: Some(Mutex::new(file)), format: LogFormat::Json, debug: false };
        tracing::subscriber::with_default(lines, || {
            let error = std::io::Error::from_raw_os_error(2);
            tracing::warn!("open /x: {error}");
            tracing::error!(error = %error, "open /y");
        });
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        let said: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["msg"].to_string())
            .collect();
        let missing = "No such file or directory";
        assert_eq!(
            said,
            [format!("\"open /x: {missing}\""), format!("\"open /y error={missing}\"")]
        );
    }
}
