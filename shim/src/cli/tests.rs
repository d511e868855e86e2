use super::*;

/// The verb's own doc comment must win over the doc comment of its flags.
#[test]
fn the_help_of_a_verb_begins_with_what_the_verb_does() {
    let help = |words: &[&str]| {
        Cli::try_parse_from([&["sharedroot"], words].concat()).unwrap_err().to_string()
    };
    let whole = help(&["--help"]);
    let list = whole.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut seen = 0;
    for line in list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let (verb, does) = line.trim().split_once(' ').unwrap();
        if verb != "help" {
            let first = help(&[verb, "-h"]).lines().next().unwrap().to_owned();
            assert!(first.starts_with(does.trim()), "{verb}: {first:?} is not {does:?}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} verbs in {list}");
}

/// Each start of the program would build the flags of all verbs, and take a third more instructions.
#[test]
fn the_flags_of_a_verb_are_built_only_for_a_command_line_that_has_the_verb() {
    let mut command = Cli::command();
    let built = |command: &clap::Command| {
        let all = command.get_subcommands();
        let has = |verb: &&clap::Command| {
            verb.get_arguments().next().is_some() || verb.get_subcommands().next().is_some()
        };
        all.filter(has).map(|verb| verb.get_name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(built(&command), [""; 0]);
    for words in [["state", "c1"], ["pool", "status"]] {
        let line = ["sharedroot"].into_iter().chain(words);
        command.try_get_matches_from_mut(line).unwrap();
    }
    // clap has a verb of its own.
    assert_eq!(built(&command), ["state", "pool", "help"]);
}

#[test]
fn every_help_is_one_screen() {
    /// Rows and columns.
    const SCREEN: (usize, usize) = (50, 100);
    let mut seen = 0;
    let mut pending = vec![vec!["sharedroot".to_owned()]];
    while let Some(path) = pending.pop() {
        let words = path.iter().map(String::as_str).chain(["--help"]);
        let command = Cli::command().term_width(SCREEN.1);
        let help = command.try_get_matches_from(words).unwrap_err().to_string();
        let wide = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let size = (help.lines().count(), wide);
        assert!(size.0 <= SCREEN.0 && size.1 <= SCREEN.1, "{path:?}: {size:?}\n{help}");
        seen += 1;
        let list = help.split("Commands:\n").nth(1).unwrap_or_default();
        let list = list.lines().take_while(|line| !line.is_empty());
        let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let below = names.filter(|name| !name.is_empty() && *name != "help");
        pending.extend(below.map(|name| [&path[..], &[name.to_owned()]].concat()));
    }
    assert!(seen > 40, "{seen} helps");
}

#[test]
fn every_captured_command_line_parses() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut seen = 0;
    for folder in std::fs::read_dir(fixtures).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|e| e != "argv") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let line = text.lines().next().unwrap().strip_prefix("argv: RUNTIME").unwrap();
            // One capture shows where Docker puts "runtimeArgs". Its argument is an example that no runtime has.
            let words = line.split_whitespace().filter(|w| *w != "--debug-arg-example=1");
            let cli = Cli::try_parse_from(["sharedroot"].into_iter().chain(words));
            assert!(cli.is_ok(), "{}: {}", path.display(), cli.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 40, "{seen} captured command lines");
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}
