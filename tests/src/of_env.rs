//! The runtime that `RUNTIME` in the environment names, as Docker and `ctr` call it.

use crate::command::out;
use crate::shim;

/// The runtime that a generic test runs with: Docker's name for the runtime in `RUNTIME`, or sharedroot.
#[track_caller]
pub fn runtime() -> String {
    match std::env::var("RUNTIME") {
        Ok(name) if name != shim::WORD => name,
        _ => name_of("sharedroot").to_owned(),
    }
}

/// Docker's name for a runtime: with `RUNTIME=shim`, sharedroot is containerd's shim of sharedroot.
#[track_caller]
pub fn name_of(runtime: &str) -> &str {
    if runtime == "sharedroot" && shim::is_meant() {
        shim::install_program();
        return shim::RUNTIMES[1];
    }
    runtime
}

/// The flag with which `ctr run` takes a runtime, and its value.
#[track_caller]
pub fn ctr_runtime(runtime: &str) -> [String; 2] {
    match name_of(runtime) {
        shim if shim == shim::RUNTIMES[1] => ["--runtime".to_owned(), shim.to_owned()],
        program => ["--runc-binary".to_owned(), out(&["which", program])],
    }
}

/// Whether [`runtime`] is sharedroot, in whatever way Docker calls it.
pub fn runs_sharedroot() -> bool {
    std::env::var("RUNTIME")
        .map_or(true, |name| name == shim::WORD || name.starts_with("sharedroot"))
}
