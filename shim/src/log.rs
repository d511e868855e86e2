//! Where messages go: the log file that the caller named, in runc's form, standard error, and the journal.
//!
//! | message | log file | standard error | journal |
//! |---|---|---|---|
//! | error | yes | yes | yes |
//! | warning | yes | without a log file | yes |
//! | information | yes | with `--debug` and no log file | yes |
//! | [`STORY`]: what happened to the container | with `--debug` | with `--debug` and no log file | yes |
//! | [`ASIDE`]: information that is in the story | yes | with `--debug` and no log file | no |
//! | debug, with the time of each step | with `--debug` | with `--debug` and no log file | with `--debug` |
//! | the engine's: where in it, not what it says | with `--debug` | with `--debug` and no log file | no |
//!
//! The story is not in the log file, which an engine keeps in memory as long as the container lives, with a line for every
//! health check then. The engine's own messages hold environments and arguments of a container, in whatever words; none of
//! ours does, for they are all in this repository (`tests/tests/vm_journal.rs`).
//!
//! Docker shows a user the `msg` of the last line whose `level` is `error`, so exactly one such
//! line is written, by `run` in lib.rs.

mod journal;
mod whole;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use sharedroot_engine::engine_log;
use sharedroot_sys::say_aside;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub use journal::deliver;
pub use whole::whole;

use crate::cli::{Cli, LogFormat};

/// The target of a message that tells what happened to the container of the command.
pub const STORY: &str = "sharedroot::story";
/// The target of a message that the story has, too.
pub const ASIDE: &str = "sharedroot::aside";

/// Starts logging for this process.
///
/// # Errors
/// The log file cannot be opened, or there is no descriptor left for what the engine logs.
pub fn start(cli: &Cli) -> std::io::Result<()> {
    let global = &cli.global;
    let file = global.log.as_deref().map(open).transpose()?.map(Mutex::new);
    engine_log::open()?;
    let lines = Lines { file, format: global.log_format, debug: global.debug };
    journal::begin(&cli.verb);
    // A second start in one process would be a mistake of ours; the first stays in force.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    // An engine shows its user the log file's last error, and no more of a panic than an exit code.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(
            "this is a fault of sharedroot or of a library in it, please report it: {panic}"
        );
    }));
    Ok(())
}

/// A regular file, or the FIFO that containerd's shim made.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

struct Lines {
    file: Option<Mutex<File>>,
    format: LogFormat,
    debug: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        let (level, ours) = (*metadata.level(), is_ours(metadata));
        // The engine logs and returns the same error; the returned one is reported.
        self.debug
            || (!ours && level == Level::ERROR)
            || (ours && (self.writes(metadata) || (journal::is_told() && level <= Level::INFO)))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        (!self.debug).then_some(LevelFilter::INFO)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        if !is_ours(metadata) {
            self.engines(metadata, &text.0);
            return;
        }
        if metadata.target() != ASIDE {
            journal::keep(*metadata.level(), &text.0);
        }
        if self.writes(metadata) {
            let level = match *metadata.level() {
                Level::ERROR => "error",
                Level::WARN => "warning",
                Level::INFO => "info",
                _ => "debug",
            };
            self.write(level, &text.0);
        }
    }
}

impl Lines {
    /// Whether a message of ours goes to the log file, or to standard error where there is none.
    fn writes(&self, metadata: &tracing::Metadata<'_>) -> bool {
        // A person at a terminal is told what went wrong; the log file also what was decided.
        let most = if self.file.is_some() { Level::INFO } else { Level::WARN };
        self.debug || (*metadata.level() <= most && metadata.target() != STORY)
    }

    /// What becomes of a message of the engine.
    fn engines(&self, metadata: &tracing::Metadata<'_>, words: &str) {
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

fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
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

/// The message, and the fields after it.
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
}
