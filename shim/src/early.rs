//! What is done before the command line is parsed.

use sharedroot_engine::seal;

/// The verbs whose process enters a container, or the container that it starts.
const ENTERING: [&str; 3] = ["create", "exec", "run"];

/// Seals early if the command line has the word of a verb that enters a container: sealing costs least before other
/// work is done. If the word means something else, or sealing fails, nothing is lost: the verb itself calls [`seal`].
pub fn seal_early() {
    if std::env::args_os().any(|word| ENTERING.iter().any(|verb| word == *verb)) {
        let _ = seal();
    }
}
