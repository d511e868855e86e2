//! The figures of a run that are drawn.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The file of a run of the benchmark.
#[derive(Debug)]
pub struct Found(Value);

/// One mode's points: pods, and the figure.
#[derive(Debug)]
pub struct Series {
    pub mode: String,
    pub points: Vec<(f64, f64)>,
}

/// Times of one mode.
#[derive(Debug)]
pub struct Total {
    pub mode: String,
    pub create: f64,
    pub delete: f64,
}

/// How many neighbours give one point, their median, of a line of latencies: a fortieth of all.
const POINTS: usize = 40;
const MIB_OF_SECTOR: f64 = 512.0 / (1 << 20) as f64;

impl Found {
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read(path).map_err(|e| format!("read {}: {e}", path.display()))?;
        Ok(Self(serde_json::from_slice(&text)?))
    }

    /// A picture's title, with the number of parallel operations.
    pub fn title(&self, what: &str) -> String {
        let options = &self.0["options"];
        let parallel = options["parallel"].as_u64().unwrap_or(1);
        let via = if options["via"] == "docker" { "Docker" } else { "the OCI command line" };
        let at_once = if parallel > 1 { format!(", {parallel} at once") } else { String::new() };
        format!("{what}: {} pause containers by {via}{at_once}", options["pods"])
    }

    pub fn totals(&self) -> Vec<Total> {
        let total = |mode: &Value| Total {
            mode: word(&mode["mode"]),
            create: number(&mode["wall_seconds"]["create"]),
            delete: number(&mode["wall_seconds"]["delete"]),
        };
        list(&self.0["modes"]).iter().map(total).collect()
    }

    /// Medians of one pod, of the part of the run in which the modes took turns.
    pub fn turns(&self) -> Vec<Total> {
        let times = &self.0["turns_milliseconds"];
        let middle = |mode: &str, operation| {
            let all = list(&times[mode][operation]["total"]).iter().map(number).collect();
            median(all)
        };
        let total = |mode: &Value| {
            let mode = word(&mode["mode"]);
            let (create, delete) = (middle(&mode, "create"), middle(&mode, "delete"));
            Total { mode, create, delete }
        };
        list(&self.0["modes"]).iter().map(total).collect()
    }

    pub fn latency(&self) -> Vec<Series> {
        self.series(|mode| {
            let times: Vec<f64> =
                list(&mode["milliseconds"]["create"]["total"]).iter().map(number).collect();
            let neighbours = times.len().div_ceil(POINTS).max(1);
            let point = |(n, times): (usize, &[f64])| {
                ((n * neighbours) as f64 + times.len() as f64 / 2.0, median(times.to_vec()))
            };
            times.chunks(neighbours).enumerate().map(point).collect()
        })
    }

    pub fn reads(&self) -> Vec<Series> {
        self.over_pods(|look| {
            let disks = look["disks"].as_object().into_iter().flat_map(|disks| disks.values());
            disks.map(|disk| number(&disk["read"])).sum::<f64>() * MIB_OF_SECTOR
        })
    }

    pub fn memory(&self) -> Vec<Series> {
        self.over_pods(|look| {
            let kb = |name: &str| number(&look["meminfo"][name]);
            (kb("MemTotal") - kb("MemFree")) / 1024.0
        })
    }

    /// A figure of each state, less that of the first state. Leaves out the state after the last delete.
    fn over_pods(&self, figure: impl Fn(&Value) -> f64) -> Vec<Series> {
        self.series(|mode| {
            let looks = list(&mode["looks"]);
            let looks = &looks[..looks.len() - 1];
            let none = figure(&looks[0]);
            looks.iter().map(|look| (number(&look["pods"]), figure(look) - none)).collect()
        })
    }

    fn series(&self, points: impl Fn(&Value) -> Vec<(f64, f64)>) -> Vec<Series> {
        let one = |mode: &Value| Series { mode: word(&mode["mode"]), points: points(mode) };
        list(&self.0["modes"]).iter().map(one).collect()
    }
}

/// By nearest rank, as in the tables.
fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[(all.len() - 1) / 2]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value}: not a number: is this a run of `hack/bench density`?"))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}
