//! The bounds of what peers make the machine keep. Without a bound, a peer could fill the memory with messages of 4 MiB that
//! still wait for their turn.

use super::container::{Container, Exec, Process};
use super::held::bytes_of;
use super::machine::Tasks;
use super::refusal::Refusal;
use crate::Call;

/// The most bytes of the calls that wait for other work on their process, for all connections together. A call usually has a
/// few kilobytes, and at most 4 MiB.
pub const MAX_QUEUED: usize = 16 << 20;

/// The most bytes of the execs that are not deleted. Until the result of its start is reported, an exec counts with its
/// request, because the request is kept until then. After that, it counts with the data for the answer of `State`: less than a
/// kilobyte.
pub const MAX_EXECS: usize = 16 << 20;

impl Exec {
    /// The ID is stored twice: in the map of the execs and in the request.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.process.streams.bytes() + self.request.bytes
    }
}

impl Tasks {
    /// Checks that there is room for one more waiting call.
    pub(super) fn has_room_for(&self, call: &Call) -> Result<(), Refusal> {
        let queued = self.containers.values().flat_map(Container::processes);
        let queued: usize = queued.map(|process| process.queue.bytes).sum();
        match queued.saturating_add(bytes_of(call)) <= MAX_QUEUED {
            true => Ok(()),
            false => {
                Err(Refusal::NoRoom { what: "calls that wait for their process", most: MAX_QUEUED })
            }
        }
    }

    /// Checks that there is room for one more exec.
    pub(super) fn has_room_for_exec(&self, exec: &Exec) -> Result<(), Refusal> {
        let execs = self.containers.values().flat_map(|container| container.execs.values());
        let held: usize = execs.map(Exec::bytes).sum();
        match held.saturating_add(exec.bytes()) <= MAX_EXECS {
            true => Ok(()),
            false => Err(Refusal::NoRoom { what: "execs that are not deleted", most: MAX_EXECS }),
        }
    }
}

impl Container {
    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.execs.values().map(|exec| &exec.process).chain([&self.init])
    }
}

#[cfg(test)]
mod tests {
    use super::super::container::Pids;
    use super::super::effect::{Effect, Outcome};
    use super::super::held::{ExecRequest, Queue};
    use super::super::table_tests::{Driver, job};
    use super::super::target::Ticket;
    use super::*;
    use crate::messages::Any;
    use crate::messages::task::{ExecProcessRequest, KillRequest, UpdateTaskRequest, WaitRequest};
    use crate::{Answer, Code, Method};

    const MIB: usize = 1 << 20;

    fn running() -> Driver {
        let mut driver = Driver::new();
        driver.complete(Method::Create, "", Outcome::Created { pid: 7, pids: Pids::Own });
        driver.complete(Method::Start, "", Outcome::Done);
        driver
    }

    fn ticket(connection: u64, stream: u32) -> Ticket {
        Ticket { connection, stream }
    }

    /// An exec with a long specification.
    fn exec(exec_id: &str, bytes: usize) -> Call {
        let value = vec![b' '; bytes];
        Call::Exec(ExecProcessRequest {
            id: "c1".to_owned(),
            exec_id: exec_id.to_owned(),
            spec: Some(Any { value, ..Any::default() }),
            ..ExecProcessRequest::default()
        })
    }

    /// The code of the only answer; `None` for success.
    fn refused(effects: &[Effect]) -> Option<Code> {
        let mut answers = effects.iter().filter_map(|effect| match effect {
            Effect::Answer(_, answer) => Some(answer.as_ref().err()),
            _ => None,
        });
        let refusal = answers.next().unwrap_or_else(|| panic!("{effects:?}"))?;
        assert_eq!(answers.next(), None);
        assert!(refusal.to_string().contains("16777216 bytes"), "{refusal}");
        Some(refusal.code())
    }

    #[test]
    fn the_bytes_of_calls_that_wait_have_a_bound() {
        let mut driver = running();
        let pause = job(&driver.send(Method::Pause, ""));
        let mut send = |stream, call| driver.tasks.call(ticket(1, stream), call);
        for stream in 0..5 {
            assert_eq!(send(stream, exec("e1", 3 * MIB)), []);
        }
        let effects = send(90, exec("e1", 3 * MIB));
        assert_eq!(refused(&effects), Some(Code::ResourceExhausted));
        // There is still room for a shorter call, and when the queue is empty there is room for all calls.
        assert_eq!(send(91, exec("e1", MIB / 2)), []);
        let effects = driver.tasks.done(pause, Outcome::Done);
        assert_eq!(effects.iter().filter(|of| matches!(of, Effect::Answer(..))).count(), 7);
        driver.send(Method::Resume, "");
        assert_eq!(driver.tasks.call(ticket(1, 99), exec("e1", 3 * MIB)), []);
    }

    #[test]
    fn calls_without_text_fill_the_queue_too() {
        let mut driver = running();
        driver.send(Method::Pause, "");
        let most = MAX_QUEUED / size_of::<(Ticket, Call)>();
        let kill = || Call::Kill(KillRequest { id: "c1".to_owned(), ..KillRequest::default() });
        let sent = (0..u32::try_from(most).unwrap())
            .find(|stream| !driver.tasks.call(ticket(1, *stream), kill()).is_empty());
        assert!(sent.is_some());
        let annotations = (0..4000).map(|of| (of.to_string(), String::new())).collect();
        let update = UpdateTaskRequest { annotations, ..UpdateTaskRequest::default() };
        assert!(bytes_of(&Call::Update(update)) > 4000 * 2 * size_of::<String>());
    }

    #[test]
    fn a_text_that_came_again_and_shorter_leaves_no_room_behind() {
        let long = ExecProcessRequest { stdin: "x".repeat(MIB), ..ExecProcessRequest::default() };
        let mut request = long;
        request.stdin.clear();
        assert!(request.stdin.capacity() >= MIB);
        let kept = ExecRequest::new(&request).take().unwrap();
        assert_eq!(kept.stdin.capacity(), 0);
        let mut queue = Queue::default();
        queue.push(ticket(1, 1), &Call::Exec(request));
        let Some((_, Call::Exec(kept))) = queue.pop() else { panic!() };
        assert_eq!((kept.stdin.capacity(), queue.bytes), (0, 0));
    }

    #[test]
    fn the_calls_of_a_connection_that_has_ended_are_forgotten() {
        let mut driver = running();
        let pause = job(&driver.send(Method::Pause, ""));
        assert_eq!(driver.tasks.call(ticket(2, 1), exec("e1", 15 * MIB)), []);
        driver.tasks.disconnected(2);
        let resume = driver.send(Method::Resume, "");
        assert_eq!(driver.tasks.call(ticket(3, 1), exec("e1", 15 * MIB)), []);
        assert_eq!(resume, []);
        // Work that has begun goes on and is answered; then come the calls of the other connections.
        let effects = driver.tasks.done(pause, Outcome::Done);
        let answers = effects.iter().filter_map(|effect| match effect {
            Effect::Answer(ticket, _) => Some(ticket.connection),
            _ => None,
        });
        assert_eq!(answers.collect::<Vec<_>>(), [1]);
        let effects = driver.tasks.done(job(&effects), Outcome::Done);
        let wanted = ticket(3, 1);
        assert!(effects.contains(&Effect::Answer(wanted, Ok(Answer::Empty))));
    }

    #[test]
    fn the_bytes_of_execs_have_a_bound() {
        let mut driver = running();
        let mut send = |stream, call| driver.tasks.call(ticket(1, stream), call);
        for id in ["e1", "e2", "e3", "e4", "e5"] {
            assert_eq!(refused(&send(1, exec(id, 3 * MIB))), None);
        }
        let exhausted = Some(Code::ResourceExhausted);
        assert_eq!(refused(&send(1, exec("e6", 3 * MIB))), exhausted);
        // The refused exec does not exist.
        let wait = WaitRequest { id: "c1".to_owned(), exec_id: "e6".to_owned() };
        let effects = send(1, Call::Wait(wait));
        assert!(matches!(&effects[..], [Effect::Answer(_, Err(Refusal::NoExec(_)))]));
        // The request is kept until the result of the start is reported.
        let start = job(&driver.send(Method::Start, "e1"));
        assert_eq!(refused(&driver.tasks.call(ticket(1, 1), exec("e6", 3 * MIB))), exhausted);
        driver.tasks.done(start, Outcome::Started { pid: 8 });
        assert_eq!(refused(&driver.tasks.call(ticket(1, 1), exec("e6", 3 * MIB))), None);
        assert_eq!(refused(&driver.tasks.call(ticket(1, 1), exec("e7", 3 * MIB))), exhausted);
        driver.complete(Method::Delete, "e2", Outcome::Done);
        assert_eq!(refused(&driver.tasks.call(ticket(1, 1), exec("e7", 3 * MIB))), None);
    }

    #[test]
    fn an_exec_whose_start_failed_keeps_its_streams_and_no_request() {
        let mut driver = running();
        let long = |exec_id: &str| {
            let Call::Exec(request) = exec(exec_id, 0) else { panic!() };
            Call::Exec(ExecProcessRequest { stdin: "x".repeat(3 * MIB), ..request })
        };
        let failed = || {
            let text = "no".to_owned();
            Outcome::Failed(Refusal::Failed { code: Code::Unknown, text })
        };
        for id in ["e1", "e2", "e3", "e4"] {
            assert_eq!(refused(&driver.tasks.call(ticket(1, 1), long(id))), None);
            driver.complete(Method::Start, id, failed());
        }
        // The fifth would need its streams and its request: 6 MiB.
        let effects = driver.tasks.call(ticket(1, 1), long("e5"));
        assert_eq!(refused(&effects), Some(Code::ResourceExhausted));
    }
}
