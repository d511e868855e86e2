//! The answers of the server to everything that a peer may send.

use proptest::prelude::*;
use prost::Message;

use super::frame::{Frame, HEADER, Kind, MAX_PAYLOAD};
use super::reader::{Reader, Received};
use super::server::{MAX_OPEN, Request, Server};
use crate::messages::envelope::{self, Response};
use crate::{Code, MAX_ENTRIES};

fn call(stream: u32) -> Vec<u8> {
    let request = envelope::Request { service: "s".to_owned(), ..Default::default() };
    frame(stream, Kind::Request, &request.encode_to_vec())
}

fn frame(stream: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame { stream, kind, flags: 0, payload: payload.to_vec() }.encode(&mut out).unwrap();
    out
}

/// The streams that were answered, with the codes and texts; 0 for success.
fn answers(server: &mut Server) -> Vec<(u32, i32, String)> {
    let mut reader = Reader::default();
    reader.push(server.output());
    server.sent(server.output().len());
    assert!(server.output().is_empty());
    let mut found = Vec::new();
    while let Some(received) = reader.take() {
        let Received::Frame(frame) = received else { panic!("{received:?}") };
        assert_eq!(frame.kind, Kind::Response);
        let status = Response::decode(frame.payload.as_slice()).unwrap().status.unwrap_or_default();
        found.push((frame.stream, status.code, status.message));
    }
    assert!(reader.is_between_frames());
    found
}

fn streams(requests: &[Request]) -> Vec<u32> {
    requests.iter().map(|request| request.stream).collect()
}

/// The only answer to bytes that hold no request.
fn refusal(bytes: &[u8]) -> (u32, Code, String) {
    let mut server = Server::default();
    assert_eq!(server.receive(bytes), []);
    let [(stream, code, text)] = answers(&mut server).try_into().unwrap();
    assert_eq!(server.open(), 0);
    (stream, Code::of(code), text)
}

#[test]
fn calls_are_answered_in_any_order() {
    let mut server = Server::default();
    let requests = server.receive(&[call(1), call(3), call(7)].concat());
    assert_eq!(streams(&requests), [1, 3, 7]);
    server.answer(7, Ok(vec![1]));
    server.answer(1, Err(Code::NotFound.status("gone")));
    let found: Vec<_> = answers(&mut server).into_iter().map(|(of, code, _)| (of, code)).collect();
    assert_eq!(found, [(7, 0), (1, Code::NotFound as i32)]);
    // There is no second answer, and no answer to a call that never came.
    server.answer(7, Ok(Vec::new()));
    server.answer(9, Ok(Vec::new()));
    assert_eq!(answers(&mut server), []);
    assert_eq!(server.open(), 1);
}

#[test]
fn what_is_wrong_gets_containerds_own_words() {
    let text = "StreamID must be odd for client initiated streams".to_owned();
    assert_eq!(refusal(&call(2)), (2, Code::InvalidArgument, text.clone()));
    assert_eq!(refusal(&call(0)), (0, Code::InvalidArgument, text));
    let text = "StreamID is no longer active".to_owned();
    assert_eq!(refusal(&frame(1, Kind::Data, b"")), (1, Code::InvalidArgument, text));
    let (stream, code, text) = refusal(&frame(1, Kind::Request, &[255]));
    assert_eq!((stream, code), (1, Code::InvalidArgument));
    assert!(text.starts_with("unmarshal request error: "), "{text}");
    // "GET / HTTP" is read as a length of a gigabyte, on stream "/ HT".
    let (stream, code, text) = refusal(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!((stream, code), (u32::from_be_bytes(*b"/ HT"), Code::ResourceExhausted));
    assert_eq!(text, "message length 1195725856 exceed maximum message size of 4194304");
}

#[test]
fn a_stream_that_comes_again_ends_without_a_second_answer() {
    let mut server = Server::default();
    assert_eq!(streams(&server.receive(&call(5))), [5]);
    for again in [5, 3, 1] {
        assert_eq!(server.receive(&call(again)), []);
        let found = answers(&mut server);
        let text = "StreamID cannot be re-used and must increment".to_owned();
        assert_eq!(found, [(again, Code::InvalidArgument as i32, text)]);
    }
    server.answer(5, Ok(Vec::new()));
    assert_eq!(answers(&mut server), []);
}

#[test]
fn a_malformed_request_uses_its_stream_up() {
    let mut server = Server::default();
    server.receive(&frame(1, Kind::Request, &[255]));
    answers(&mut server);
    assert_eq!(server.receive(&call(1)), []);
    assert_eq!(answers(&mut server)[0].1, Code::InvalidArgument as i32);
    assert_eq!(streams(&server.receive(&call(3))), [3]);
}

#[test]
fn frames_that_later_versions_may_bring_are_left_out() {
    let mut server = Server::default();
    let bytes = [frame(1, Kind::Unknown(9), b"x"), frame(1, Kind::Response, b"y"), call(1)];
    assert_eq!(streams(&server.receive(&bytes.concat())), [1]);
    assert_eq!(answers(&mut server), []);
}

#[test]
fn half_a_header_waits_and_is_no_end() {
    let mut server = Server::default();
    let bytes = call(1);
    assert_eq!(server.receive(&bytes[..HEADER - 1]), []);
    assert!(!server.is_between_frames() && server.output().is_empty());
    assert_eq!(streams(&server.receive(&bytes[HEADER - 1..])), [1]);
    assert!(server.is_between_frames());
}

#[test]
fn an_answer_above_the_bound_becomes_an_error() {
    let mut server = Server::default();
    server.receive(&call(1));
    server.answer(1, Ok(vec![0; MAX_PAYLOAD]));
    assert!(server.output().len() < 1000);
    assert_eq!(answers(&mut server)[0].1, Code::ResourceExhausted as i32);
}

#[test]
fn a_peer_that_reads_nothing_is_read_no_more() {
    let mut server = Server::default();
    for stream in 0..3 {
        assert!(server.wants_input());
        server.receive(&call(stream * 2 + 1));
        server.answer(stream * 2 + 1, Ok(vec![0; 400 << 10]));
    }
    assert!(!server.wants_input());
    answers(&mut server);
    assert!(server.wants_input());
}

#[test]
fn open_calls_have_a_bound() {
    let mut server = Server::default();
    let most = u32::try_from(MAX_OPEN).unwrap();
    for stream in 0..most {
        assert_eq!(server.receive(&call(stream * 2 + 1)).len(), 1);
    }
    assert_eq!(server.receive(&call(most * 2 + 1)), []);
    assert_eq!(answers(&mut server)[0].1, Code::ResourceExhausted as i32);
    server.answer(1, Ok(Vec::new()));
    assert_eq!(server.receive(&call(most * 2 + 3)).len(), 1);
}

/// The machine behind the server keeps such a call until its answer.
#[test]
fn a_call_whose_stream_was_refused_counts_until_its_answer() {
    let mut server = Server::default();
    let most = u32::try_from(MAX_OPEN).unwrap();
    for stream in (0..most).map(|of| of * 2 + 1) {
        assert_eq!(server.receive(&call(stream)).len(), 1);
        assert_eq!(server.receive(&frame(stream, Kind::Data, b"")), []);
        assert_eq!(answers(&mut server).len(), 1);
    }
    assert_eq!(server.open(), MAX_OPEN);
    assert_eq!(server.receive(&call(most * 2 + 1)), []);
    assert_eq!(answers(&mut server)[0].1, Code::ResourceExhausted as i32);
    server.answer(1, Ok(Vec::new()));
    assert_eq!(answers(&mut server), []);
    assert_eq!(server.receive(&call(most * 2 + 3)).len(), 1);
}

#[test]
fn a_request_with_too_much_metadata_is_refused() {
    let (_, code, text) = refusal(&frame(1, Kind::Request, &[0x2a, 0].repeat(MAX_ENTRIES + 1)));
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(text, "unmarshal request error: the message has more than 4096 entries");
}

#[test]
fn timeouts_and_metadata_arrive() {
    let of = |timeout_nano| {
        let pair = envelope::KeyValue { key: "k".to_owned(), value: "v".to_owned() };
        let request =
            envelope::Request { timeout_nano, metadata: vec![pair], ..Default::default() };
        let bytes = frame(1, Kind::Request, &request.encode_to_vec());
        Server::default().receive(&bytes).remove(0)
    };
    assert_eq!(of(1).metadata, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(of(0).timeout, None);
    assert_eq!(of(1).timeout.unwrap().as_nanos(), 1);
    // The time is already over.
    assert_eq!(of(-1).timeout.unwrap().as_nanos(), 0);
}

proptest! {
    /// For any input: every request that the server returned is answered once, and only bytes of an unfinished frame are kept.
    #[test]
    fn every_call_is_answered_once(
        sent in prop::collection::vec((0..12_u32, 0..5_u8, any::<bool>()), 0..30),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut server = Server::default();
        let mut requests = Vec::new();
        for (stream, kind, whole) in sent {
            let head = [0, 0, 0, 0, 0, 0, 0, 0, kind, 0];
            let kind = super::frame::Header::decode(head).kind;
            let payload: &[u8] = if whole { &[] } else { &[255] };
            requests.extend(streams(&server.receive(&frame(stream, kind, payload))));
        }
        let refused: Vec<_> = answers(&mut server).into_iter().map(|(stream, ..)| stream).collect();
        let open = server.open();
        requests.iter().for_each(|stream| server.answer(*stream, Ok(Vec::new())));
        let answered: Vec<_> = answers(&mut server).into_iter().map(|(stream, ..)| stream).collect();
        prop_assert_eq!(requests.len(), open);
        for stream in &requests {
            let now = answered.iter().filter(|of| *of == stream).count();
            prop_assert!(now == 1 || (now == 0 && refused.contains(stream)));
        }
        prop_assert_eq!(server.open(), 0);
        server.receive(&noise);
    }
}
