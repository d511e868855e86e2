//! Writes man pages and completions into the directory that its argument names.

fn main() -> std::io::Result<()> {
    sharedroot::pages::run()
}
