use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use super::*;

struct Client {
    input: File,
    output: File,
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    (reader.into(), writer.into())
}

fn target(exec: Option<&str>) -> Target {
    Target { container: "c".parse().unwrap(), exec: exec.map(|exec| exec.parse().unwrap()) }
}

fn terminal(poll: &Poll) -> (Relays, File, Client) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&master).unwrap();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let slave = File::from(ioctl_tiocgptpeer(&master, flags).unwrap());
    let ((stdin, input), (output, stdout)) = (pipe(), pipe());
    let mut kept =
        vec![(Keep::ClientInput, stdin), (Keep::Terminal, master), (Keep::ClientOutput, stdout)];
    let mut relays = Relays::default();
    relays.add(7, &target(None), &mut kept, poll).unwrap();
    assert!(kept.is_empty());
    (relays, slave, Client { input: input.into(), output: output.into() })
}

/// A process with pipes as process 8, and its client.
fn piped(relays: &mut Relays, poll: &Poll) -> (Client, Client) {
    let ((stdin, input), (output, stdout)) = (pipe(), pipe());
    let ((own_input, to), (from, own_output)) = (pipe(), pipe());
    let mut kept = vec![
        (Keep::ClientInput, stdin),
        (Keep::ProcessInput, to),
        (Keep::ProcessOutput, from),
        (Keep::ClientOutput, stdout),
        (Keep::Input, input.try_clone().unwrap()),
    ];
    relays.add(8, &target(Some("e")), &mut kept, poll).unwrap();
    let [(Keep::Input, _)] = &kept[..] else { panic!("{kept:?}") };
    let process = Client { input: own_output.into(), output: own_input.into() };
    (process, Client { input: input.into(), output: output.into() })
}

/// The kernel passes what is written to a terminal on later.
fn turn(relays: &mut Relays, poll: &Poll) {
    for token in poll.wait(Some(Duration::from_millis(10))).unwrap() {
        let Token::Stream(number, end) = token else { panic!("{token:?}") };
        relays.advance(number, end, poll);
    }
}

fn read(file: &mut File) -> String {
    let mut bytes = [0; 65536];
    let count = file.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn both_directions_are_relayed_until_the_process_ends() {
    let poll = Poll::new().unwrap();
    let (mut relays, mut slave, mut client) = terminal(&poll);
    let mut said = |relays: &mut Relays, wanted: &str| {
        let mut text = String::new();
        for _ in 0..1000 {
            turn(relays, &poll);
            text += &read(&mut client.output);
            if text == wanted {
                return;
            }
        }
        panic!("{text:?} instead of {wanted:?}");
    };
    slave.write_all(b"prompt").unwrap();
    said(&mut relays, "prompt");
    client.input.write_all(b"word\n").unwrap();
    // The terminal echoes.
    said(&mut relays, "word\r\n");
    let mut line = [0; 64];
    let count = slave.read(&mut line).unwrap();
    assert_eq!(&line[..count], b"word\n");
    slave.write_all(b"bye").unwrap();
    drop(slave);
    said(&mut relays, "bye");
    while relays.has(&target(None)) {
        turn(&mut relays, &poll);
    }
    assert_eq!(client.output.read(&mut line).unwrap(), 0, "the client reads the end");
}

#[test]
fn a_client_that_does_not_read_loses_nothing_and_costs_no_turn() {
    let poll = Poll::new().unwrap();
    let (mut relays, mut slave, mut client) = terminal(&poll);
    let flags = rustix::fs::fcntl_getfl(&slave).unwrap() | OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&slave, flags).unwrap();
    let mut written = 0;
    for _ in 0..200 {
        written += slave.write(&[b'x'; 1024]).unwrap_or(0);
        turn(&mut relays, &poll);
    }
    assert!(written > 65536, "{written}");
    assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), [], "nothing can be done");
    // Another process goes on meanwhile.
    let (mut process, mut other) = piped(&mut relays, &poll);
    process.input.write_all(b"beside").unwrap();
    turn(&mut relays, &poll);
    assert_eq!(read(&mut other.output), "beside");
    drop(slave);
    let mut got = 0;
    while relays.has(&target(None)) && got < written {
        got += read(&mut client.output).len();
        turn(&mut relays, &poll);
    }
    got += read(&mut client.output).len();
    assert_eq!(got, written);
}

#[test]
fn pipes_are_relayed_until_each_end_closes() {
    let poll = Poll::new().unwrap();
    let mut relays = Relays::default();
    let (mut process, mut client) = piped(&mut relays, &poll);
    client.input.write_all(b"in").unwrap();
    turn(&mut relays, &poll);
    assert_eq!(read(&mut process.output), "in");
    // The process closes its output and goes on reading.
    drop(process.input);
    turn(&mut relays, &poll);
    assert_eq!(client.output.read(&mut [0; 8]).unwrap(), 0, "the client reads the end");
    client.input.write_all(b"more").unwrap();
    turn(&mut relays, &poll);
    assert_eq!(read(&mut process.output), "more");
    drop(client.input);
    assert!(relays.has(&target(Some("e"))));
    turn(&mut relays, &poll);
    assert_eq!(process.output.read(&mut [0; 8]).unwrap(), 0, "the process reads the end");
    assert!(!relays.has(&target(None)));
}

#[test]
fn a_process_that_writes_without_end_gets_one_turn() {
    let poll = Poll::new().unwrap();
    let mut relays = Relays::default();
    let (mut process, mut client) = piped(&mut relays, &poll);
    let writer = std::thread::spawn(move || {
        rustix::io::ioctl_fionbio(&process.input, false).unwrap();
        while process.input.write_all(&[b'x'; 4096]).is_ok() {}
    });
    rustix::io::ioctl_fionbio(&client.output, false).unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut got = 0_usize;
        while got < 1 << 20 {
            got += client.output.read(&mut bytes).unwrap();
        }
    });
    while !reader.is_finished() {
        turn(&mut relays, &poll);
    }
    reader.join().unwrap();
    // What was deleted ends at once, whoever still writes.
    relays.forget(&target(Some("e")), &poll);
    assert!(!relays.has(&target(Some("e"))));
    writer.join().unwrap();
    assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
}

#[test]
fn the_end_of_a_process_ends_its_input_only() {
    let poll = Poll::new().unwrap();
    let mut relays = Relays::default();
    let (mut process, mut client) = piped(&mut relays, &poll);
    relays.process_ended(8, &poll);
    assert_eq!(process.output.read(&mut [0; 8]).unwrap(), 0);
    // Another process of the container has the output.
    process.input.write_all(b"late").unwrap();
    turn(&mut relays, &poll);
    assert_eq!(read(&mut client.output), "late");
}
