//! What is done before the command line is parsed.

use sharedroot_engine::seal;

/// The verbs whose process enters a container, or one that it starts.
const ENTERING: [&str; 3] = ["create", "exec", "run"];

/// Seals early where the command line has the word of a verb that enters a container: a start costs the least before
/// anything was done. Where it is another word, or a failure, nothing is lost: the verb itself calls [`seal`].
pub fn seal_early() {
    if std::env::args_os().any(|word| ENTERING.iter().any(|verb| word == *verb)) {
        let _ = seal();
    }
}
