//! Pods, whoever makes them.

use sharedroot_bench::Clock;

/// What the steps of a pod's life are filed under.
pub const CREATE: &str = "create";
/// See [`CREATE`].
pub const DELETE: &str = "delete";

/// The pods of one mode, by number. Several threads may ask at once, each for another pod.
pub trait Pods: Sync {
    /// From nothing to a running process, step by step.
    fn create(&self, pod: usize) -> Clock;

    /// From a running process to nothing.
    fn delete(&self, pod: usize) -> Clock;

    /// The process id of a running pod.
    fn pid(&self, pod: usize) -> i32;

    /// Reads what an engine would have made a moment ago: every pod's directories and the files of the layer database.
    fn warm(&self);

    /// The cgroup below which all of them are.
    fn cgroup(&self) -> &str;

    /// The layer of each image. The pods have the images in turn.
    fn layers(&self) -> &[std::path::PathBuf];

    /// Milliseconds of the engine's list of containers, if there is one.
    fn list(&self) -> Option<f64>;

    /// The engine's own process for each container, by its `comm`, if there is one.
    fn shim(&self) -> Option<&'static str>;
}
