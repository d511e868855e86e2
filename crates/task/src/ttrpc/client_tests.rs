//! A caller, and everything that the server may send.

use proptest::prelude::*;
use prost::Message;

use super::client::{Busy, Client, Lost};
use super::frame::{Frame, Kind, MAX_PAYLOAD};
use super::server::Server;
use crate::messages::envelope::{Request, Response};
use crate::{Code, EVENTS, FORWARD};

fn request() -> Request {
    Request { service: EVENTS.to_owned(), method: FORWARD.to_owned(), ..Request::default() }
}

fn response(stream: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame { stream, kind, flags: 0, payload: payload.to_vec() }.encode(&mut out).unwrap();
    out
}

fn waiting() -> Client {
    let mut client = Client::default();
    client.call(&request()).unwrap();
    client
}

#[test]
fn a_client_and_a_server_understand_each_other() {
    let (mut client, mut server) = (Client::default(), Server::default());
    for stream in [1, 3, 5] {
        client.call(&request()).unwrap();
        assert_eq!(client.call(&request()), Err(Busy::Waiting));
        let requests = server.receive(client.output());
        client.sent(client.output().len());
        assert_eq!(requests[0].stream, stream);
        assert_eq!((requests[0].service.as_str(), requests[0].method.as_str()), (EVENTS, FORWARD));
        let status = Code::Unavailable.status("later");
        let answer = if stream == 3 { Err(status) } else { Ok(vec![7]) };
        server.answer(stream, answer.clone());
        let output = server.output().to_vec();
        server.sent(output.len());
        let (first, rest) = output.split_at(5);
        assert_eq!(client.receive(first), Ok(None));
        assert_eq!(client.receive(rest), Ok(Some(answer)));
        assert!(!client.is_waiting());
    }
}

#[test]
fn a_request_above_the_bound_does_not_go_out() {
    let mut client = Client::default();
    let request = Request { payload: vec![0; MAX_PAYLOAD], ..request() };
    assert!(matches!(client.call(&request), Err(Busy::TooLong(_))));
    assert!(client.output().is_empty() && !client.is_waiting());
    client.call(&self::request()).unwrap();
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let ok = Response::default().encode_to_vec();
    let lost = |bytes: &[u8]| waiting().receive(bytes).unwrap_err();
    let unasked = |kind, stream| Lost::Unasked { kind, stream, last: 1 };
    assert_eq!(lost(&response(3, Kind::Response, &ok)), unasked(Kind::Response, 3));
    assert_eq!(lost(&response(1, Kind::Data, &ok)), unasked(Kind::Data, 1));
    assert_eq!(lost(&response(1, Kind::Request, &ok)), unasked(Kind::Request, 1));
    assert_eq!(lost(&response(1, Kind::Response, &[255])), Lost::Malformed(1));
    assert_eq!(lost(b"HTTP/1.1 400 Bad Request"), Lost::TooLong(u32::from_be_bytes(*b"HTTP")));
    let twice = response(1, Kind::Response, &ok).repeat(2);
    assert_eq!(lost(&twice), unasked(Kind::Response, 1));
    let later = response(1, Kind::Unknown(9), b"?");
    assert_eq!(waiting().receive(&later), Ok(None));
}

proptest! {
    #[test]
    fn bytes_are_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut client = waiting();
        if let Ok(Some(_)) = client.receive(&bytes) {
            prop_assert!(!client.is_waiting());
        }
    }
}
