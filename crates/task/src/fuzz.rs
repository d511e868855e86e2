//! What the fuzz target calls: bytes that containerd could write to a shim go through the code that reads them. The crate in
//! `fuzz/` gives random bytes; the tests below give the seeds and damaged seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;

use prost::Message;

use crate::messages::Timestamp;
use crate::messages::envelope::{self, Response};
use crate::start::{Command, Environment, Input, Start};
use crate::stream::Stream;
use crate::tasks::{Effect, Exit, Outcome, Pids, Target, Tasks, Ticket, Work};
use crate::ttrpc::{Client, HEADER, Kind, MAX_PAYLOAD, Reader, Received, Request, Server};
use crate::{Call, SERVICES};

/// A connection: frames, requests, and the effects of the calls on the tasks. The same bytes are also read as an answer to
/// `Forward`, and as the standard input of `start`.
///
/// # Panics
/// If a promise is broken.
pub fn task(bytes: &[u8]) {
    frames_are_the_same_in_pieces(bytes);
    every_call_is_answered(bytes);
    every_payload_reads_back(bytes);
    let mut client = Client::default();
    client.call(&envelope::Request::default()).expect("the first call goes out");
    match client.receive(bytes) {
        Ok(Some(_)) => assert!(!client.is_waiting(), "an answer ends the call"),
        Ok(None) => {}
        Err(error) => says_something(&error.to_string()),
    }
    standard_input(bytes);
    streams(bytes);
}

/// Every text is a stream that leads to an absolute path, or is refused.
fn streams(bytes: &[u8]) {
    for text in String::from_utf8_lossy(bytes).lines() {
        match text.parse() {
            Ok(Stream::Null) => assert_eq!(text, ""),
            Ok(Stream::Path(path) | Stream::File(path)) => assert!(path.is_absolute(), "{path:?}"),
            Ok(Stream::Logger(logger)) => {
                let words = [&[logger.program.into_os_string()], &logger.arguments[..]].concat();
                assert!(words[0].as_bytes().starts_with(b"/"));
                assert!(words.iter().all(|word| !word.as_bytes().contains(&0)), "{words:?}");
            }
            Err(error) => says_something(&error.to_string()),
        }
    }
}

fn frames_are_the_same_in_pieces(bytes: &[u8]) {
    let whole = received(&[bytes]);
    let (head, rest) = bytes.split_at(bytes.len() / 2);
    assert_eq!(received(&[head, rest]), whole, "pieces are other frames");
    let pieces: Vec<_> = bytes.chunks(7).collect();
    assert_eq!(received(&pieces), whole, "pieces are other frames");
}

fn received(pieces: &[&[u8]]) -> Vec<Received> {
    let mut reader = Reader::default();
    let mut found = Vec::new();
    for piece in pieces {
        reader.push(piece);
        found.extend(std::iter::from_fn(|| reader.take()));
        assert!(reader.held() < HEADER + MAX_PAYLOAD, "more than a frame is held");
    }
    found
}

/// The shim and its surroundings: work is done at once, and a killed process ends.
#[derive(Default)]
struct Shim {
    server: Server,
    tasks: Tasks,
    living: BTreeMap<u32, Target>,
    pid: u32,
}

fn every_call_is_answered(bytes: &[u8]) {
    let mut shim = Shim::default();
    let requests = shim.server.receive(bytes);
    let asked: BTreeSet<_> = requests.iter().map(|request| request.stream).collect();
    assert_eq!(asked.len(), requests.len(), "a stream has two calls");
    requests.iter().for_each(|request| shim.call(request));
    // A `Wait` that is still open waits for the end of a process, or for a process that was never started.
    for pid in shim.living.keys().copied().collect::<Vec<_>>() {
        shim.end(pid);
    }
    let output = shim.server.output().to_vec();
    for received in received(&[&output]) {
        let Received::Frame(frame) = received else { panic!("an answer above the bound") };
        assert_eq!(frame.kind, Kind::Response);
        let response = Response::decode(frame.payload.as_slice()).expect("a response");
        if let Some(status) = response.status {
            assert!(status.code != 0, "a failure without a code");
            says_something(&status.message);
        }
    }
}

impl Shim {
    fn call(&mut self, request: &Request) {
        let ticket = Ticket { connection: 1, stream: request.stream };
        match Call::parse(request) {
            Err(error) => self.server.answer(request.stream, Err(error.status())),
            Ok(call) => {
                let effects = self.tasks.call(ticket, call);
                self.follow(effects);
            }
        }
    }

    fn follow(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, answer) => {
                    let answer = answer.map(|answer| answer.encode());
                    self.server.answer(ticket.stream, answer.map_err(|refusal| refusal.status()));
                }
                Effect::Run(job, work) => {
                    let outcome = self.outcome(&work);
                    let effects = self.tasks.done(job, outcome);
                    self.follow(effects);
                    if let Work::Kill { target, .. } | Work::Delete(target) = work {
                        let of = |(pid, of): (&u32, &Target)| (*of == target).then_some(*pid);
                        self.living.iter().find_map(of).into_iter().for_each(|pid| self.end(pid));
                    }
                }
                Effect::Publish(event) => {
                    let namespace = "moby".parse().expect("a namespace");
                    assert!(!event.forward(&namespace, Timestamp::NEVER).is_empty());
                }
                Effect::Report(..) | Effect::Shutdown => {}
            }
        }
    }

    fn outcome(&mut self, work: &Work) -> Outcome {
        match work {
            Work::Create(container, _) => {
                let pid = self.make(Target { container: container.clone(), exec: None });
                Outcome::Created { pid, pids: Pids::Shared }
            }
            Work::StartExec(target, _) => Outcome::Started { pid: self.make(target.clone()) },
            Work::Pids(_) => Outcome::Pids(self.living.keys().copied().collect()),
            _ => Outcome::Done,
        }
    }

    fn make(&mut self, target: Target) -> u32 {
        self.pid += 1;
        self.living.insert(self.pid, target);
        self.pid
    }

    fn end(&mut self, pid: u32) {
        if self.living.remove(&pid).is_some() {
            let effects = self.tasks.ended(pid, Exit { status: 0, at: Timestamp::NEVER });
            self.follow(effects);
        }
    }
}

/// Reads the bytes as the request of each method. A request that can be read can be written and read again.
fn every_payload_reads_back(bytes: &[u8]) {
    for method in crate::Method::ALL {
        let request = |payload: &[u8]| Request {
            service: SERVICES[0].to_owned(),
            method: method.to_string(),
            payload: payload.to_owned(),
            ..Request::default()
        };
        match Call::parse(&request(bytes)) {
            Err(error) => says_something(&error.to_string()),
            Ok(call) => {
                let again = Call::parse(&request(&call.payload()));
                assert_eq!(again, Ok(call), "{method} reads back as another request");
            }
        }
    }
}

fn standard_input(bytes: &[u8]) {
    let words = ["-namespace", "moby", "-id", "c1", "start"].map(str::to_owned);
    let command = Command::parse(&words, &Environment::default());
    let Ok(Command::Start(start)) = command else { panic!("{command:?}") };
    if let Err(error) = Input::parse(bytes, &start) {
        says_something(&error.to_string());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let words: Vec<_> = text.lines().map(str::to_owned).collect();
    match Command::parse(&words, &Environment::default()) {
        Ok(Command::Start(Start { id, namespace, .. })) => {
            assert!(!format!("{namespace}{id}").contains('/'), "an ID leads out of its directory");
        }
        Ok(_) => {}
        Err(error) => says_something(&error.to_string()),
    }
}

/// Checks that an error is a message for a person.
fn says_something(text: &str) {
    assert!(text.chars().any(char::is_alphabetic), "an error without words: {text:?}");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use proptest::test_runner::RngSeed;

    use super::*;

    fn seeds() -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/task");
        let list = fs::read_dir(&dir).unwrap_or_else(|e| panic!("list {}: {e}", dir.display()));
        let mut paths: Vec<_> = list.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty());
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// The seed is the whole life of a container, so that the target does more than refuse.
    #[test]
    fn the_seed_of_a_container_is_a_whole_life() {
        let seed = include_bytes!("../../../fuzz/seeds/task/container");
        let mut shim = Shim::default();
        let requests = shim.server.receive(seed);
        let names: Vec<_> = requests.iter().map(|request| request.method.as_str()).collect();
        let wanted =
            ["Create", "Connect", "Wait", "Start", "State", "Exec", "Start", "Kill", "Delete"];
        assert_eq!(names[..9], wanted);
        requests.iter().for_each(|request| shim.call(request));
        assert!(shim.tasks.is_empty() && shim.living.is_empty());
        let mut answers = received(&[shim.server.output()]).into_iter();
        assert!(answers.all(|received| {
            let Received::Frame(frame) = received else { panic!("{received:?}") };
            Response::decode(frame.payload.as_slice()).unwrap().status.is_none()
        }));
    }

    #[test]
    fn every_seed() {
        seeds().iter().for_each(|seed| task(seed));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 300,
            rng_seed: RngSeed::Fixed(27364),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn damaged_seeds(
            seed in select(seeds()),
            damage in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..6),
        ) {
            let mut bytes = seed;
            for (at, byte, kind) in damage {
                let at = at.index(bytes.len() + 1).min(bytes.len().saturating_sub(1));
                match kind {
                    0 if !bytes.is_empty() => bytes[at] = byte,
                    1 if !bytes.is_empty() => drop(bytes.remove(at)),
                    _ => bytes.insert(at, byte),
                }
            }
            task(&bytes);
        }
    }
}
