//! The command line by the rules of Go's `flag` package: `-name value`, `-name=value`, `--` in place of `-`, and switches
//! without a value. The first word that is not a flag ends the flags.

/// Whether a flag has a value or is a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Value,
    Nothing,
}

/// The flags of containerd's shims, 1.7 to 2.3 (`runtime/v2/shim/shim.go`, `pkg/shim/shim.go`).
const KNOWN: [(&str, Takes); 11] = [
    ("address", Takes::Value),
    ("bundle", Takes::Value),
    ("debug", Takes::Nothing),
    ("debug-socket", Takes::Value),
    ("id", Takes::Value),
    ("info", Takes::Nothing),
    ("namespace", Takes::Value),
    ("publish-binary", Takes::Value),
    ("socket", Takes::Value),
    ("v", Takes::Nothing),
    ("version", Takes::Nothing),
];

/// A command line that Go's package would refuse, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFlag {
    /// The word begins like a flag, and is not a flag.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// There is no such flag.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// The flag's value is missing.
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    /// The switch has a value that is neither true nor false.
    #[error("invalid boolean value {value:?} for -{name}")]
    Switch {
        /// The switch.
        name: String,
        /// The value.
        value: String,
    },
}

/// The flags that were given, and the words after them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    values: Vec<(&'static str, String)>,
    pub rest: Vec<String>,
}

impl Flags {
    /// Reads the words after the program's name.
    pub fn parse(words: &[String]) -> Result<Self, BadFlag> {
        let mut flags = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.as_slice().first() {
            let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) else { break };
            words.next();
            if flag == "-" {
                break;
            }
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.is_empty() || flag.starts_with(['-', '=']) {
                return Err(BadFlag::Syntax(word.clone()));
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let known = KNOWN.iter().find(|(known, _)| *known == name);
            let (name, takes) = known.ok_or_else(|| BadFlag::Unknown(name.to_owned()))?;
            let value = match (takes, value) {
                (_, Some(value)) => value,
                (Takes::Nothing, None) => "true".to_owned(),
                (Takes::Value, None) => {
                    words.next().cloned().ok_or_else(|| BadFlag::NoValue((*name).to_owned()))?
                }
            };
            if *takes == Takes::Nothing && truth(&value).is_none() {
                return Err(BadFlag::Switch { name: (*name).to_owned(), value });
            }
            flags.values.push((name, value));
        }
        flags.rest = words.cloned().collect();
        Ok(flags)
    }

    /// The value of a flag. If the flag was given several times, the last value counts; without the flag the value is empty.
    pub fn value(&self, name: &str) -> &str {
        let values = self.values.iter().rev();
        values.filter(|(of, _)| *of == name).map(|(_, value)| value.as_str()).next().unwrap_or("")
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        truth(self.value(name)) == Some(true)
    }
}

/// Go's `strconv.ParseBool`.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Flags, BadFlag> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(&words)
    }

    #[test]
    fn every_way_to_write_a_flag() {
        for line in ["-id a -debug start", "--id=a -debug=true start", "-id b -id a -debug=T start"]
        {
            let flags = parse(line).unwrap();
            assert_eq!(flags.value("id"), "a", "{line}");
            assert!(flags.is_on("debug"), "{line}");
            assert_eq!(flags.rest, ["start"], "{line}");
        }
        assert_eq!(parse("-id -debug start").unwrap().value("id"), "-debug");
        assert_eq!(parse("-id= start").unwrap().value("id"), "");
        assert!(!parse("-debug -debug=false start").unwrap().is_on("debug"));
        assert_eq!(parse("-debug -- -id").unwrap().rest, ["-id"]);
        assert_eq!(parse("- -id").unwrap().rest, ["-", "-id"]);
        assert_eq!(parse("start -id a").unwrap().value("id"), "");
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let unknown = |name: &str| BadFlag::Unknown(name.to_owned());
        assert_eq!(parse("-x start"), Err(unknown("x")));
        assert_eq!(parse("-Id a"), Err(unknown("Id")));
        assert_eq!(parse("-debug -id"), Err(BadFlag::NoValue("id".to_owned())));
        let (name, value) = ("debug".to_owned(), "yes".to_owned());
        assert_eq!(parse("-debug=yes"), Err(BadFlag::Switch { name, value }));
        for word in ["---id", "-=a", "--=a"] {
            assert_eq!(parse(word), Err(BadFlag::Syntax(word.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn values_come_back(id in "\\PC{1,20}", namespace in "\\PC{0,20}") {
            let words = ["-id".to_owned(), id.clone(), format!("--namespace={namespace}"), "start".to_owned()];
            let flags = Flags::parse(&words).unwrap();
            prop_assert_eq!(flags.value("id"), id);
            prop_assert_eq!(flags.value("namespace"), namespace);
            prop_assert_eq!(flags.rest, ["start"]);
        }
    }
}
