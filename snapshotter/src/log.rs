//! Messages on standard error, which systemd puts into the journal: each line begins with its priority (sd-daemon(3)).

use std::fmt;

use sharedroot_sys::say_aside;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Begins to log. Only this project's own crates log: those of gRPC tell each frame.
pub fn begin(debug: bool) {
    let lines = Lines { debug };
    // A second call in one process would be a mistake in this program. The first call stays in force.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(
            "this is a fault of sharedrootd or of a library in it, please report it: {panic}"
        );
    }));
}

struct Lines {
    debug: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("sharedroot")
            && (self.debug || *metadata.level() <= Level::INFO)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.debug { LevelFilter::DEBUG } else { LevelFilter::INFO })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        say_aside!("<{priority}>{}{}", text.message, text.fields);
    }
}

/// The message, and then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }
}
