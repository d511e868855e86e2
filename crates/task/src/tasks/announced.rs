//! How long a shim with several containers must stay: `start` finds a living shim for the next container and announces the
//! container, and the shim stays until the container's `Create` has come. And what becomes of a container that containerd has
//! given up, which `delete` tells.

use super::container::{Container, Doing};
use super::effect::{Effect, Work};
use super::machine::Tasks;
use super::refusal::Refusal;
use super::target::Target;
use crate::Id;

impl Tasks {
    /// containerd will ask for this container. Until it does, or gives the container up, the shim does not end. A container
    /// can be announced again: containerd may have ended after the first time.
    ///
    /// # Errors
    /// [`Refusal::Ending`], [`Refusal::ContainerExists`].
    pub fn announce(&mut self, id: Id, bundle: String) -> Result<(), Refusal> {
        if self.ending {
            return Err(Refusal::Ending);
        }
        if self.containers.contains_key(&id) || self.creating.contains(&id) {
            return Err(Refusal::ContainerExists(id));
        }
        self.announced.insert(id, bundle);
        Ok(())
    }

    /// The containers that are announced and that containerd has not asked for yet, with their bundles.
    pub fn announced(&self) -> impl Iterator<Item = (&Id, &str)> {
        self.announced.iter().map(|(id, bundle)| (id, bundle.as_str()))
    }

    /// containerd has given the container up, so no call for the container will come: what there is of it is deleted. A shim
    /// that has nothing else ends.
    pub fn give_up(&mut self, id: &Id) -> Vec<Effect> {
        self.announced.remove(id);
        if self.creating.contains(id) || self.containers.contains_key(id) {
            self.given_up.insert(id.clone());
            self.delete_given_up(id);
        }
        self.end_if_unused();
        self.take_effects()
    }

    /// The bundle of a container, as its `Create` named it.
    #[must_use]
    pub fn bundle(&self, id: &str) -> Option<&str> {
        self.containers.get(id).map(|container| container.bundle.as_str())
    }

    /// The bundles of all containers.
    pub fn bundles(&self) -> impl Iterator<Item = &str> {
        let there = self.containers.values().map(|container| container.bundle.as_str());
        there.chain(self.announced.values().map(String::as_str))
    }

    /// Deletes a container that was given up, when no work is done on its init process. This happens once: what `delete` could
    /// not do, nobody can.
    pub(super) fn delete_given_up(&mut self, id: &Id) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.init.doing.is_some() || !self.given_up.remove(id) {
            return;
        }
        container.given_up = true;
        container.init.doing = Some(Doing::Delete);
        self.run(None, Work::Delete(Target { container: id.clone(), exec: None }));
    }

    /// A container could not be made that was given up meanwhile.
    pub(super) fn forget_given_up(&mut self, id: &Id) {
        if self.given_up.remove(id) {
            self.end_if_unused();
        }
    }

    pub(super) fn end_if_unused(&mut self) {
        if self.is_empty() {
            self.ending = true;
            self.effects.push(Effect::Shutdown);
        }
    }
}

impl Container {
    /// Whether only the end of the init process is missing for the end of the container.
    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.is_some() || (self.given_up && self.init.doing.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::super::container::{Exit, Pids};
    use super::super::effect::{Job, Outcome};
    use super::super::target::Ticket;
    use super::*;
    use crate::messages::Timestamp;
    use crate::messages::task::{CreateTaskRequest, PauseRequest, ShutdownRequest, StartRequest};
    use crate::{Call, Code, Event};

    const TICKET: Ticket = Ticket { connection: 1, stream: 1 };
    const MADE: Outcome = Outcome::Created { pid: 7, pids: Pids::Own };

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    fn announce(tasks: &mut Tasks, name: &str) -> Result<(), Refusal> {
        tasks.announce(id(name), format!("/b/{name}"))
    }

    fn failed() -> Outcome {
        Outcome::Failed(Refusal::Failed { code: Code::Unknown, text: "no".to_owned() })
    }

    fn create(tasks: &mut Tasks, id: &str) -> Vec<Effect> {
        let request = CreateTaskRequest { id: id.to_owned(), ..Default::default() };
        tasks.call(TICKET, Call::Create(request))
    }

    fn shut_down(tasks: &mut Tasks, id: &str) -> bool {
        let request = ShutdownRequest { id: id.to_owned(), now: false };
        tasks.call(TICKET, Call::Shutdown(request)).contains(&Effect::Shutdown)
    }

    fn jobs(effects: &[Effect]) -> Vec<(Job, Work)> {
        let jobs = effects.iter().filter_map(|effect| match effect {
            Effect::Run(job, work) => Some((*job, work.clone())),
            _ => None,
        });
        jobs.collect()
    }

    /// The only work.
    fn job(effects: &[Effect]) -> Job {
        let jobs = jobs(effects);
        let [(job, _)] = jobs[..] else { panic!("{effects:?}") };
        job
    }

    fn events(effects: &[Effect]) -> Vec<&str> {
        let events = effects.iter().filter_map(|effect| match effect {
            Effect::Publish(event) => Some(event.topic()),
            _ => None,
        });
        events.collect()
    }

    #[test]
    fn an_announced_container_keeps_the_shim_until_it_is_asked_for() {
        let mut tasks = Tasks::new(1);
        announce(&mut tasks, "c1").unwrap();
        announce(&mut tasks, "c2").unwrap();
        assert_eq!(tasks.announced().next(), Some((&id("c1"), "/b/c1")));
        assert_eq!(tasks.bundles().count(), 2);
        // The end of another container, and of this one without a Create.
        assert!(!shut_down(&mut tasks, "c0") && !shut_down(&mut tasks, "c2"));
        let made = job(&create(&mut tasks, "c1"));
        assert_eq!(tasks.announced().count(), 0);
        assert!(!shut_down(&mut tasks, "c2"), "c1 is being made");
        tasks.done(made, failed());
        assert!(shut_down(&mut tasks, "c1"));
    }

    #[test]
    fn a_shim_that_ends_takes_no_container() {
        let mut tasks = Tasks::new(1);
        assert!(shut_down(&mut tasks, "c1"));
        assert_eq!(announce(&mut tasks, "c1"), Err(Refusal::Ending));
        let effects = create(&mut tasks, "c1");
        assert_eq!(effects, [Effect::Answer(TICKET, Err(Refusal::Ending))]);
        assert_eq!(Refusal::Ending.code(), Code::Unavailable);
    }

    #[test]
    fn a_container_that_is_there_is_not_announced_again() {
        let mut tasks = Tasks::new(1);
        announce(&mut tasks, "c1").unwrap();
        announce(&mut tasks, "c1").unwrap();
        let made = job(&create(&mut tasks, "c1"));
        assert_eq!(announce(&mut tasks, "c1"), Err(Refusal::ContainerExists(id("c1"))));
        tasks.done(made, MADE);
        assert_eq!(announce(&mut tasks, "c1"), Err(Refusal::ContainerExists(id("c1"))));
    }

    #[test]
    fn the_last_container_that_is_given_up_ends_the_shim() {
        let mut tasks = Tasks::new(1);
        announce(&mut tasks, "c1").unwrap();
        announce(&mut tasks, "c2").unwrap();
        assert_eq!(tasks.give_up(&id("c1")), []);
        assert_eq!(tasks.give_up(&id("c2")), [Effect::Shutdown]);
    }

    #[test]
    fn a_container_that_is_given_up_while_it_is_made_is_deleted() {
        let mut tasks = Tasks::new(1);
        let made = job(&create(&mut tasks, "c1"));
        assert_eq!(tasks.give_up(&id("c1")), []);
        let effects = tasks.done(made, MADE);
        assert!(matches!(jobs(&effects)[..], [(_, Work::Delete(_))]), "{effects:?}");
        assert_eq!(tasks.done(job(&effects), Outcome::Done), []);
        let effects = tasks.ended(7, Exit { status: 137, at: Timestamp::default() });
        assert_eq!(events(&effects), ["/tasks/exit", "/tasks/delete"]);
        assert_eq!(effects.last(), Some(&Effect::Shutdown));
        let mut tasks = Tasks::new(1);
        let made = job(&create(&mut tasks, "c1"));
        tasks.give_up(&id("c1"));
        assert_eq!(tasks.done(made, failed()).last(), Some(&Effect::Shutdown));
    }

    #[test]
    fn a_container_that_is_given_up_goes_after_the_work_that_is_done_on_it() {
        let mut tasks = Tasks::new(1);
        let made = job(&create(&mut tasks, "c1"));
        tasks.done(made, MADE);
        let start = StartRequest { id: "c1".to_owned(), ..Default::default() };
        let effects = tasks.call(TICKET, Call::Start(start));
        tasks.done(job(&effects), Outcome::Done);
        let pause = tasks.call(TICKET, Call::Pause(PauseRequest { id: "c1".to_owned() }));
        assert_eq!(tasks.give_up(&id("c1")), []);
        let effects = tasks.done(job(&pause), failed());
        assert!(matches!(jobs(&effects)[..], [(_, Work::Delete(_))]), "{effects:?}");
        // The process ends before the deletion does, and the deletion fails.
        assert_eq!(tasks.ended(7, Exit { status: 137, at: Timestamp::default() }), []);
        let effects = tasks.done(job(&effects), failed());
        assert!(matches!(effects[0], Effect::Report(..)), "{effects:?}");
        assert!(effects.iter().any(|of| matches!(of, Effect::Publish(Event::Delete(_)))));
        assert_eq!(effects.last(), Some(&Effect::Shutdown));
    }
}
