//! The output of a Rust test executable.

use crate::outcome::{Test, Verdict, one_line};

/// The tests in a log, in their order. If the executable ended before its `test result:` line, one more test counts as failed.
pub fn parse(executable: &str, log: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    for line in log.lines() {
        let Some((name, end)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... "))
        else {
            continue;
        };
        let verdict = match end.split_whitespace().next() {
            Some("ok") => Verdict::Passed,
            Some("ignored" | "ignored,") => Verdict::Skipped,
            _ => Verdict::Failed,
        };
        let why = if verdict == Verdict::Failed { vec![reason(name, log)] } else { vec![] };
        tests.push(Test { name: name.to_owned(), verdict, why });
    }
    if !log.lines().any(|line| line.starts_with("test result: ")) {
        let why = vec![format!("no end: {}", log.lines().last().unwrap_or("no output"))];
        tests.push(Test { name: executable.to_owned(), verdict: Verdict::Failed, why });
    }
    tests
}

/// `---- NAME stdout ----`, a line with the place, the message.
fn reason(name: &str, log: &str) -> String {
    let head = format!("---- {name} stdout ----");
    let block = log.split_once(&*head).map_or("", |(_, block)| block);
    let block = block.split("\n---- ").next().unwrap_or(block);
    let message = block.split_once("panicked at ").and_then(|(_, rest)| rest.split_once('\n'));
    let lines = message.map_or(block, |(_, message)| message);
    // An assertion of equality has its message in the first line, and its two values in the next lines.
    let after =
        |line: &str| line.is_empty() || line.starts_with("note: ") || line == "stack backtrace:";
    let lines = lines.lines().take_while(|line| !after(line));
    one_line(&lines.take(3).map(str::trim).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "
running 3 tests
test vm_a ... ok
test vm_b ... FAILED
test vm_c ... ignored

failures:

---- vm_b stdout ----

thread 'vm_b' (12) panicked at tests/tests/x.rs:1:2:
assertion `left == right` failed: the words
  left: 1
 right: 2
stack backtrace:
   0: somewhere

failures:
    vm_b

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s
";

    #[test]
    fn a_failure_has_its_message() {
        let found: Vec<_> =
            parse("x", LOG).into_iter().map(|t| (t.name, t.verdict, t.why)).collect();
        let why = "assertion `left == right` failed: the words left: 1 right: 2".to_owned();
        assert_eq!(
            found,
            [
                ("vm_a".to_owned(), Verdict::Passed, vec![]),
                ("vm_b".to_owned(), Verdict::Failed, vec![why]),
                ("vm_c".to_owned(), Verdict::Skipped, vec![]),
            ]
        );
    }

    #[test]
    fn a_log_without_an_end_is_a_failure() {
        let cut = LOG.split_once("test vm_c").expect("a part").0;
        let tests = parse("vm_x", cut);
        let last = tests.last().expect("a test");
        assert_eq!((&*last.name, last.verdict), ("vm_x", Verdict::Failed));
        assert_eq!(last.why, ["no end: test vm_b ... FAILED"]);
        assert_eq!(parse("vm_x", "")[0].why, ["no end: no output"]);
    }
}
