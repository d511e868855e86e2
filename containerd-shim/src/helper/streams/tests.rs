use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use sharedroot_task::Code;

use super::*;

fn place(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("shim-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn fifo(name: &str) -> PathBuf {
    let path = place(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path
}

fn open(stdin: &str, stdout: &str, route: Route) -> Result<Streams, Failed> {
    let namespace = "moby".parse().unwrap();
    let user = User { namespace: &namespace, id: "c1", bundle: Path::new("/tmp") };
    Streams::open(&Asked { stdin, stdout, stderr: "" }, route, &user)
}

fn kinds(kept: &[(Keep, OwnedFd)]) -> Vec<Keep> {
    kept.iter().map(|(keep, _)| *keep).collect()
}

/// The order of a start with a quick program and a slow client.
#[test]
fn a_client_reads_all_and_then_the_end_whenever_it_comes() {
    let path = fifo("out");
    let Streams { output, kept, .. } = open("", path.to_str().unwrap(), Route::Direct).unwrap();
    assert_eq!(kinds(&kept), [Keep::Output]);
    File::from(output).write_all(b"hello").unwrap();
    let mut client =
        File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&path);
    // The process and the server close their ends.
    drop(kept);
    let mut text = String::new();
    client.as_mut().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    fs::remove_file(path).unwrap();
}

#[test]
fn an_input_ends_when_the_server_and_the_client_close_it() {
    let path = fifo("in");
    let Streams { input, kept, .. } = open(path.to_str().unwrap(), "", Route::Direct).unwrap();
    let mut client = File::options().write(true).open(&path).unwrap();
    client.write_all(b"hello").unwrap();
    drop(client);
    let mut input = File::from(input);
    let mut text = [0; 5];
    input.read_exact(&mut text).unwrap();
    rustix::io::ioctl_fionbio(&input, true).unwrap();
    let waits = input.read(&mut text).unwrap_err();
    assert_eq!(waits.kind(), io::ErrorKind::WouldBlock, "the server has the input open");
    drop(kept);
    assert_eq!(input.read(&mut text).unwrap(), 0);
    fs::remove_file(path).unwrap();
}

#[test]
fn relayed_streams_are_pipes_and_the_server_has_the_other_ends() {
    let (input, output) = (fifo("relayed-in"), fifo("relayed-out"));
    let (stdin, stdout) = (input.to_str().unwrap(), output.to_str().unwrap());
    let Streams { output: own, kept, .. } = open(stdin, stdout, Route::Relayed).unwrap();
    use Keep::*;
    let wanted = [Input, ClientInput, ProcessInput, ClientOutput, OutputReader, ProcessOutput];
    assert_eq!(kinds(&kept), wanted);
    File::from(own).write_all(b"x").unwrap();
    assert_eq!(rustix::io::read(&kept[5].1, &mut [0_u8; 2]), Ok(1));
    for path in [input, output] {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_no_stream_of_a_process_is_refused() {
    let file = place("no-fifo");
    fs::write(&file, "").unwrap();
    let file_name = file.to_str().unwrap();
    let (no, bad) = (Code::Unimplemented, Code::InvalidArgument);
    for (stdin, stdout, code) in [
        ("", "npipe://x", no),
        ("", "file://a", bad),
        ("binary:///bin/true", "", no),
        // The process could open the file again for writing.
        (file_name, "", no),
        ("", "/no/such/fifo", Code::Unknown),
    ] {
        let failed = open(stdin, stdout, Route::Direct).unwrap_err();
        assert_eq!(failed.code, code, "{stdin:?} {stdout:?}: {}", failed.text);
    }
    fs::remove_file(file).unwrap();
}
