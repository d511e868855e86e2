//! Writes man pages and completions into the directory that it is given.

fn main() -> std::io::Result<()> {
    sharedroot::pages::run()
}
