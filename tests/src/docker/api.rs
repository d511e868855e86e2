//! Docker's API at its socket, for what a test asks beside its point: the command line takes a tenth of a second of a guest for
//! each question. The answers are those that the command line prints.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

const SOCKET: &str = "/var/run/docker.sock";

/// As the limit of a command.
const LIMIT: Duration = Duration::from_secs(120);

/// An answer: its status, and what follows the header.
#[derive(Debug)]
pub struct Answer {
    request: String,
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// The answer as JSON.
    ///
    /// # Panics
    /// If the request failed, or the answer is something else.
    #[track_caller]
    pub fn json(self) -> Value {
        let body = self.ok();
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("no JSON: {error}: {body:?}"))
    }

    /// The answer's bytes.
    ///
    /// # Panics
    /// If the request failed; the message has the daemon's.
    #[track_caller]
    pub fn ok(self) -> Vec<u8> {
        let Self { request, status, body } = self;
        assert!(status < 400, "{request}: {status} {}", String::from_utf8_lossy(&body));
        body
    }
}

/// One request. With HTTP/1.0 the answer ends with the connection.
#[track_caller]
pub fn ask(method: &str, path: &str, body: Option<&Value>) -> Answer {
    let request = format!("{method} {path}");
    let answer = exchange(&request, body).unwrap_or_else(|error| panic!("{request}: {error}"));
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    match (status, head) {
        (Some(status), Some(head)) => Answer { request, status, body: answer[head + 4..].to_vec() },
        _ => panic!("{request}: no answer of HTTP: {text}"),
    }
}

fn exchange(request: &str, body: Option<&Value>) -> std::io::Result<Vec<u8>> {
    let mut socket = UnixStream::connect(SOCKET)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let body = body.map_or_else(String::new, Value::to_string);
    let header = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    socket.write_all(format!("{request} HTTP/1.0\r\n{header}\r\n\r\n{body}").as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer)
}

/// `docker exec`: the exit status, standard output and standard error.
#[track_caller]
pub fn exec(container: &str, command: &[&str]) -> (i64, String, String) {
    let made = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": command});
    let made = ask("POST", &format!("/containers/{container}/exec"), Some(&made)).json();
    let id = made["Id"].as_str().expect("an ID");
    let told = json!({"Detach": false, "Tty": false});
    let stream = ask("POST", &format!("/exec/{id}/start"), Some(&told)).ok();
    let (out, err) = streams(&stream);
    let status = ask("GET", &format!("/exec/{id}/json"), None).json();
    (status["ExitCode"].as_i64().unwrap_or_else(|| panic!("exec goes on: {status}")), out, err)
}

/// The two outputs in Docker's stream: each part has a header of 8 bytes, the first of which is the number of the output and the
/// last four of which are the length.
fn streams(mut rest: &[u8]) -> (String, String) {
    let mut outputs = [Vec::new(), Vec::new()];
    while let [number, _, _, _, a, b, c, d, more @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (part, more) = more.split_at(length.min(more.len()));
        outputs[usize::from(*number == 2)].extend(part);
        rest = more;
    }
    assert!(rest.is_empty(), "a part without a header: {rest:?}");
    let [out, err] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (out, err)
}
