//! Which operations wait for their turn, and how long an operation may take.
//!
//! What ends a container never waits: neither behind a base that is being made, nor behind a container that stops whoever enters
//! it.

use std::mem::discriminant;
use std::time::Duration;

use sharedroot_task::Call;

use crate::order::Order;

/// The most creations at a time, and the most ways into containers.
const MOST: usize = 32;

/// The most ways into one container at a time.
pub const MOST_OF_ONE: usize = 8;

/// How long the way into a container may take. A process of the container can stop the newcomer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Operations that wait for each other.
#[derive(Debug, PartialEq, Eq)]
enum Queue<'a> {
    Create,
    /// Into the container with this ID.
    Enter(&'a str),
}

/// The queue of an operation; none if it never waits.
fn queue(order: &Order) -> Option<Queue<'_>> {
    match &order.call {
        Call::Create(_) => Some(Queue::Create),
        Call::Exec(request) => Some(Queue::Enter(&request.id)),
        _ => None,
    }
}

/// Whether the turn of `order` has come beside the operations `running`.
pub fn has_come<'a>(order: &'a Order, running: impl Iterator<Item = &'a Order>) -> bool {
    let Some(wanted) = queue(order) else { return true };
    let alike = |other: &Queue<'_>| discriminant(other) == discriminant(&wanted);
    let running: Vec<_> = running.filter_map(queue).filter(alike).collect();
    let same = running.iter().filter(|other| **other == wanted).count();
    running.len() < MOST && (wanted == Queue::Create || same < MOST_OF_ONE)
}

/// How long the operation may take; none if it takes as long as it needs.
pub fn patience(order: &Order) -> Option<Duration> {
    matches!(queue(order), Some(Queue::Enter(_))).then_some(PATIENCE)
}

#[cfg(test)]
mod tests {
    use sharedroot_task::messages::task::{
        CreateTaskRequest, DeleteRequest, ExecProcessRequest, KillRequest,
    };

    use super::*;

    fn order(call: Call) -> Order {
        Order { call, bundle: "/run/b".into() }
    }

    fn create() -> Order {
        order(Call::Create(CreateTaskRequest::default()))
    }

    fn exec(id: &str) -> Order {
        order(Call::Exec(ExecProcessRequest { id: id.to_owned(), ..Default::default() }))
    }

    #[test]
    fn creations_and_ways_into_containers_have_a_bound_each_and_what_ends_a_container_has_none() {
        let creations: Vec<_> = (0..MOST).map(|_| create()).collect();
        let containers: Vec<_> = (0..MOST / MOST_OF_ONE).map(|n| n.to_string()).collect();
        let ways: Vec<_> =
            containers.iter().flat_map(|id| (0..MOST_OF_ONE).map(|_| exec(id))).collect();
        assert!(has_come(&create(), creations[1..].iter()));
        assert!(!has_come(&create(), creations.iter()));
        assert!(has_come(&exec("new"), ways[1..].iter()));
        assert!(!has_come(&exec("new"), ways.iter()));
        // Neither holds up the other.
        assert!(has_come(&create(), ways.iter()) && has_come(&exec("new"), creations.iter()));
        for call in [Call::Delete(DeleteRequest::default()), Call::Kill(KillRequest::default())] {
            assert!(has_come(&order(call), creations.iter().chain(&ways)));
        }
    }
}
