//! `metrics`: the host's figures in Prometheus' text format, for node_exporter's textfile collector
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Counters begin at the boot of the host, because their sources are in memory. Prometheus treats a smaller counter as
//! a new beginning.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use sharedroot_bases::Bases;
use sharedroot_sys::output::Output;
use sharedroot_sys::private_dir::private_dir;

use super::pool::Figures;
use super::snapshots::Snapshots;
use super::status::Kinds;
use crate::cli::Metrics;
use crate::lifecycle::LifecycleError;
use crate::output::say;
use crate::record;
use crate::starts::{self, BOUNDS, Histogram, Totals};

/// Prints the metrics, or writes them to a file.
///
/// # Errors
/// [`LifecycleError`].
pub fn metrics(bases: &Bases, args: &Metrics) -> Result<(), LifecycleError> {
    let run_dir = bases.run_dir();
    private_dir(run_dir)?;
    let file = |step, path: &Path| {
        let path = path.to_owned();
        move |source| LifecycleError::File { step, path, source }
    };
    let pool = Figures::known(bases)?.to_json();
    let kinds = record::all(run_dir)?.into_iter().collect();
    let mounted = bases.mounted_bases()?.len();
    let totals =
        starts::since_boot(run_dir).map_err(file("read the notes of starts in", run_dir))?;
    let snapshots = Snapshots::now(bases);
    let text = Text::of(&pool, &kinds, mounted, &snapshots, &totals).0;
    let Some(path) = &args.output else {
        say!("{}", text.trim_end());
        return Ok(());
    };
    // The file is replaced in one step, because the collector may read at any time.
    let written = Output::at(path, 0o644).and_then(|output| output.write(text.as_bytes()));
    written.map_err(file("write", path))
}

/// The metrics in the text format.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn of(
        pool: &Value,
        kinds: &Kinds,
        mounted: usize,
        snapshots: &Snapshots,
        totals: &Totals,
    ) -> Self {
        let mut text = Self::default();
        text.head("info", "gauge", "The version of sharedroot.");
        text.line("info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);

        text.head("pool_active", "gauge", "Whether the pool is active and takes changes.");
        let active = pool["mode"] == "rw" && pool["needs_check"] != true;
        text.line("pool_active", &[], f64::from(u8::from(active)));
        for (name, help) in [("used", "Bytes of the pool in use."), ("total", "Bytes of the pool.")]
        {
            let name = (format!("pool_{name}_bytes"), format!("{name}_bytes"));
            text.head(&name.0, "gauge", help);
            for part in ["data", "metadata"] {
                // The fill of an inactive pool is unknown.
                if let Some(bytes) = pool[part][&name.1].as_f64() {
                    text.line(&name.0, &[("part", part)], bytes);
                }
            }
        }
        text.head("volumes", "gauge", "Bases and snapshots in the pool.");
        text.line("volumes", &[], pool["volumes"].as_f64().unwrap_or(0.0));
        text.head("bases_mounted", "gauge", "Bases that are mounted.");
        text.line("bases_mounted", &[], mounted as f64);

        text.head("containers", "gauge", "Containers by the kind of their root.");
        let given: usize = kinds.not_shared.values().map(Vec::len).sum();
        for (root, count) in
            [("shared", kinds.shared), ("private", kinds.private), ("not_shared", given)]
        {
            text.line("containers", &[("root", root)], count as f64);
        }
        text.snapshots(snapshots);

        text.head("create_seconds", "histogram", "How long `create` took since the host booted.");
        text.histogram("create_seconds", &[("root", "base")], &totals.on_bases);
        text.histogram("create_seconds", &[("root", "not_shared")], &totals.not_shared);
        text.head("start_seconds", "histogram", "How long `start` took since the host booted.");
        text.histogram("start_seconds", &[], &totals.started);
        text.head("errors_total", "counter", "Commands that failed since the host booted.");
        for (verb, count) in &totals.failed {
            text.line("errors_total", &[("command", verb)], *count as f64);
        }
        text
    }

    /// Figures that are not known have no sample.
    fn snapshots(&mut self, snapshots: &Snapshots) {
        let known = snapshots.to_json();
        for (name, help, figures) in [
            (
                "snapshots",
                "Snapshots of the snapshotter.",
                &[("layer", "layers"), ("active", "active"), ("view", "views")][..],
            ),
            (
                "snapshot_bytes",
                "Bytes of the pool that snapshots take beyond their parents.",
                &[("layer", "layer_bytes"), ("active", "active_bytes")],
            ),
        ] {
            self.head(name, "gauge", help);
            for (kind, key) in figures {
                if let Some(figure) = known[key].as_f64() {
                    self.line(name, &[("kind", kind)], figure);
                }
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!(
            "# HELP sharedroot_{name} {help}\n# TYPE sharedroot_{name} {kind}\n"
        ));
    }

    /// The values of labels are this program's own and need no escapes.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(key, of)| format!("{key}=\"{of}\"")).collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        self.push(format_args!("sharedroot_{name}{labels} {value}\n"));
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], found: &Histogram) {
        let bounds = BOUNDS.iter().map(|millis| (*millis as f64 / 1e3).to_string());
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (bound, below) in bounds.chain(["+Inf".to_owned()]).zip(found.cumulated()) {
            self.line(&bucket, &[labels, &[("le", &bound)]].concat(), below as f64);
            count = below;
        }
        self.line(&format!("{name}_sum"), labels, found.sum().as_secs_f64());
        self.line(&format!("{name}_count"), labels, count as f64);
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string grows");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use sharedroot_sys::process_start::Moment;

    use super::*;
    use crate::starts::{Note, Step};

    fn totals() -> Totals {
        let note = |step, millis| Note {
            step,
            at: Moment::of_nanos(0),
            took: Duration::from_millis(millis),
            container: "-".to_owned(),
        };
        let base = Some(crate::testing::key());
        let mut totals = Totals::default();
        totals.extend([
            note(Step::Create(base.clone()), 7),
            note(Step::Whole(base), 250),
            note(Step::Create(None), 90_000),
            note(Step::Start, 3),
            note(Step::Failed("exec".to_owned()), 1),
        ]);
        totals
    }

    #[test]
    fn the_text_is_that_of_prometheus() {
        let part = |used| json!({ "used_bytes": used, "total_bytes": 1000, "percent": 1 });
        let pool = json!({ "mode": "rw", "needs_check": false, "volumes": 3, "data": part(10),
                           "metadata": part(20) });
        let kinds = Kinds {
            shared: 2,
            private: 1,
            not_shared: [("why".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into(),
        };
        let text = Text::of(&pool, &kinds, 2, &Snapshots::example(), &totals()).0;
        for line in [
            "sharedroot_pool_active 1",
            "sharedroot_pool_used_bytes{part=\"metadata\"} 20",
            "sharedroot_containers{root=\"not_shared\"} 2",
            "sharedroot_create_seconds_bucket{root=\"base\",le=\"0.005\"} 0",
            "sharedroot_create_seconds_bucket{root=\"base\",le=\"0.01\"} 1",
            "sharedroot_create_seconds_bucket{root=\"base\",le=\"+Inf\"} 2",
            "sharedroot_create_seconds_sum{root=\"base\"} 0.257",
            "sharedroot_create_seconds_bucket{root=\"not_shared\",le=\"60\"} 0",
            "sharedroot_create_seconds_count{root=\"not_shared\"} 1",
            "sharedroot_start_seconds_count 1",
            "sharedroot_errors_total{command=\"exec\"} 1",
            "sharedroot_snapshots{kind=\"layer\"} 3",
            "sharedroot_snapshots{kind=\"view\"} 0",
            "sharedroot_snapshot_bytes{kind=\"active\"} 65536",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        // Every sample belongs to the head above it, and no head comes twice.
        let mut heads = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(!heads.contains(&name), "{name} twice");
                heads.push(name);
            } else if !line.starts_with('#') {
                assert!(line.starts_with(heads.last().unwrap()), "{line}");
            }
        }
    }

    #[test]
    fn without_a_pool_there_are_no_figures_of_it() {
        let (pool, unknown) = (Figures::example().to_json(), Snapshots(Err("why".to_owned())));
        let text = Text::of(&pool, &Kinds::default(), 0, &unknown, &Totals::default()).0;
        assert!(text.contains("\nsharedroot_pool_active 0\n"));
        assert!(!text.contains("sharedroot_pool_used_bytes{"));
        assert!(!text.contains("sharedroot_snapshots{"), "what is not known is not 0");
    }
}
