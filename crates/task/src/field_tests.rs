//! Compares each message with its definition in `fixtures/`. For each field of the definition, the test makes bytes that hold
//! only this field, and reads them. The field must have its name and the value that was written, and the message must give the
//! same bytes again. So the number, the type and the name of each field are right. A message must have no field that its
//! definition lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use prost::Message;

use crate::Method;
use crate::messages::bootstrap::{
    BootstrapParams, BootstrapResult, Extension, RuntimeInfo, RuntimeVersion,
};
use crate::messages::bootstrap::{Capability, LogLevel};
use crate::messages::containers::{Container, GetContainerRequest, GetContainerResponse, Runtime};
use crate::messages::envelope::{KeyValue, Request, Response};
use crate::messages::event::*;
use crate::messages::metrics::*;
use crate::messages::options::{any_runtime, runc};
use crate::messages::snapshots::*;
use crate::messages::task::*;
use crate::messages::{Any, FieldMask, Status as RpcStatus, Timestamp};

/// A field of a definition.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    label: String,
    of: String,
    name: String,
    number: u32,
}

/// The text of a definition without comments.
fn without_comments(proto: &str) -> String {
    let lines = proto.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines, without their semicolons, of each block `kind NAME { … }`.
fn blocks(proto: &str, kind: &str) -> BTreeMap<String, Vec<String>> {
    let proto = without_comments(proto);
    let mut found = BTreeMap::new();
    for (at, _) in proto.match_indices(&format!("{kind} ")) {
        let Some((head, rest)) = proto[at + kind.len()..].split_once('{') else { continue };
        let body = rest.split('}').next().unwrap();
        let lines =
            body.split(';').map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
        found.insert(head.trim().to_owned(), lines.collect());
    }
    found
}

fn field(line: &str) -> Option<Field> {
    if line.starts_with("option ") || line.starts_with("reserved ") {
        return None;
    }
    let line = line.split('[').next().unwrap().replace("map<string, string>", "map");
    let (words, number) = line.split_once('=').unwrap();
    let words: Vec<_> = words.split_whitespace().collect();
    let (label, of, name) = match words[..] {
        [of, name] => ("", of, name),
        [label, of, name] => (label, of, name),
        _ => panic!("{line:?} is no field"),
    };
    let number = number.trim().parse().unwrap();
    Some(Field { label: label.to_owned(), of: of.to_owned(), name: name.to_owned(), number })
}

fn messages(proto: &str) -> BTreeMap<String, Vec<Field>> {
    let blocks = blocks(proto, "message").into_iter();
    blocks
        .map(|(name, lines)| (name, lines.iter().filter_map(|line| field(line)).collect()))
        .collect()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A value that only a field of the right type reads and writes again, and the text that Debug shows for the field.
fn example(field: &Field) -> (Vec<u8>, String) {
    let bytes = |bytes: &[u8]| [varint(bytes.len() as u64), bytes.to_vec()].concat();
    let (wire, value, shown) = match field.of.as_str() {
        "string" => (2, bytes("é".as_bytes()), "\"é\"".to_owned()),
        "bytes" => (2, bytes(&[255]), "[255]".to_owned()),
        "bool" => (0, varint(1), "true".to_owned()),
        "uint32" => (0, varint(u64::from(u32::MAX)), u32::MAX.to_string()),
        "int32" => (0, varint(u64::MAX), "-1".to_owned()),
        "uint64" => (0, varint(u64::MAX), u64::MAX.to_string()),
        "int64" => (0, varint(u64::MAX), "-1".to_owned()),
        "double" => (1, 0.5_f64.to_le_bytes().to_vec(), "0.5".to_owned()),
        "map" => (2, bytes(b"\x0a\x01k\x12\x01v"), r#"{"k": "v"}"#.to_owned()),
        // An enumeration is a number. An unknown number is kept, and several numbers are packed.
        "containerd.v1.types.Status" | "LogLevel" | "Kind" => (0, varint(77), "77".to_owned()),
        "Capability" => (2, bytes(&[77]), "77".to_owned()),
        of => (2, bytes(&[]), of.rsplit('.').next().unwrap().to_owned()),
    };
    ([varint(u64::from(field.number) << 3 | wire), value].concat(), shown)
}

/// The names of the fields that Debug shows, each with its text.
fn shown<M: Debug>(message: &M) -> BTreeMap<String, String> {
    let text = format!("{message:#?}");
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        let top = line.strip_prefix("    ").filter(|line| !line.starts_with([' ', ')', ']', '}']));
        match top.and_then(|line| line.split_once(": ")) {
            Some((name, value)) => {
                last = name.trim_start_matches("r#").to_owned();
                fields.insert(last.clone(), value.to_owned());
            }
            None => fields.entry(last.clone()).or_default().push_str(line.trim()),
        }
    }
    fields.remove("");
    fields
}

fn check<M: Message + Default + Debug>(definitions: &BTreeMap<String, Vec<Field>>, name: &str) {
    let fields = definitions.get(name).unwrap_or_else(|| panic!("no definition of {name}"));
    let names: BTreeSet<_> = fields.iter().map(|field| field.name.clone()).collect();
    let ours: BTreeSet<_> = shown(&M::default()).into_keys().collect();
    assert_eq!(ours, names, "the fields of {name}");
    for field in fields {
        let (bytes, value) = example(field);
        let message =
            M::decode(bytes.as_slice()).unwrap_or_else(|e| panic!("{name}.{}: {e}", field.name));
        assert_eq!(message.encode_to_vec(), bytes, "{name}.{} is written again", field.name);
        let found = &shown(&message)[&field.name];
        assert!(
            found.replace(['\n', ','], "").contains(&value),
            "{name}.{}: {found:?}",
            field.name
        );
        let several = found.starts_with('[') || found.starts_with('{');
        let wanted = field.label == "repeated" || field.of == "map" || field.of == "bytes";
        assert_eq!(several, wanted, "{name}.{}: {found:?}", field.name);
    }
}

/// Checks the messages, and checks that the definition has no other messages except those named after `without`.
macro_rules! hold {
    ($file:literal: $($message:ty),+ $(,)?; without $($without:literal),*) => {{
        let definitions = messages(include_str!(concat!("../fixtures/", $file)));
        let mut rest: BTreeSet<_> = definitions.keys().cloned().collect();
        $(
            let name = stringify!($message).rsplit("::").next().unwrap().trim();
            let name = if name == "RpcStatus" { "Status" } else { name };
            check::<$message>(&definitions, name);
            rest.remove(name);
        )+
        let without: BTreeSet<String> = [$($without.to_owned()),*].into();
        assert_eq!(rest, without, "{}", $file);
    }};
}

macro_rules! task_messages {
    ($file:literal) => {
        hold!($file: CreateTaskRequest, CreateTaskResponse, DeleteRequest, DeleteResponse, ExecProcessRequest, ResizePtyRequest,
            StateRequest, StateResponse, KillRequest, CloseIORequest, PidsRequest, PidsResponse, CheckpointTaskRequest,
            UpdateTaskRequest, StartRequest, StartResponse, WaitRequest, WaitResponse, StatsRequest, StatsResponse,
            ConnectRequest, ConnectResponse, ShutdownRequest, PauseRequest, ResumeRequest; without "ExecProcessResponse")
    };
}

#[test]
fn requests_and_responses_are_those_of_both_versions() {
    task_messages!("task-v2.proto");
    task_messages!("task-v3.proto");
    hold!("mount.proto": Mount; without "ActiveMount", "ActivationInfo");
    hold!("process.proto": ProcessInfo; without "Process");
}

#[test]
fn events_are_containerds() {
    hold!("events.proto": TaskCreate, TaskStart, TaskDelete, TaskIO, TaskExit, TaskOOM, TaskExecAdded, TaskExecStarted,
        TaskPaused, TaskResumed, TaskCheckpointed; without);
    hold!("envelope.proto": Envelope; without);
    hold!("forward.proto": ForwardRequest; without);
}

#[test]
fn options_are_those_of_runc_and_of_any_runtime() {
    hold!("runc-options.proto": runc::Options, runc::CheckpointOptions, runc::ProcessDetails; without);
    hold!("runtime-options.proto": any_runtime::Options; without);
}

#[test]
fn metrics_are_those_of_the_cgroups_library() {
    hold!("metrics.proto": Metrics, PSIData, PSIStats, PidsStat, CPUStat, MemoryStat, MemoryEvents, RdmaStat, RdmaEntry,
        IOStat, IOEntry, HugeTlbStat, NetworkStat; without);
}

#[test]
fn bootstrap_is_that_of_containerd_2_3() {
    hold!("bootstrap.proto": BootstrapParams, Extension, BootstrapResult; without);
    hold!("introspection.proto": RuntimeVersion, RuntimeInfo; without "RuntimeRequest");
}

#[test]
fn snapshots_are_containerds() {
    hold!("snapshots.proto": PrepareSnapshotRequest, PrepareSnapshotResponse, ViewSnapshotRequest, ViewSnapshotResponse,
        MountsRequest, MountsResponse, RemoveSnapshotRequest, CommitSnapshotRequest, StatSnapshotRequest, StatSnapshotResponse,
        Info, UpdateSnapshotRequest, UpdateSnapshotResponse, ListSnapshotsRequest, ListSnapshotsResponse, UsageRequest,
        UsageResponse, CleanupRequest; without);
}

#[test]
fn records_of_containers_are_containerds() {
    hold!("containers.proto": Container, Runtime, GetContainerRequest, GetContainerResponse; without);
}

#[test]
fn the_envelope_is_ttrpcs_and_the_rest_is_googles() {
    hold!("ttrpc.proto": Request, Response, KeyValue; without "StringList");
    hold!("google.proto": Any, FieldMask, Timestamp, RpcStatus; without);
}

/// The numbers of an enumeration by their names, without the prefix that all names have.
fn enumeration(proto: &str, name: &str, prefix: &str) -> BTreeMap<String, i32> {
    let lines = blocks(proto, "enum").remove(name).unwrap();
    let pair = |line: &String| {
        let (name, number) = line.split_once('=').unwrap();
        let name = name.trim().strip_prefix(prefix).unwrap().to_lowercase();
        (name, number.trim().parse().unwrap())
    };
    lines.iter().map(pair).collect()
}

macro_rules! hold_enumeration {
    ($file:literal, $of:ident, $prefix:literal) => {{
        let proto = include_str!(concat!("../fixtures/", $file));
        let numbers = enumeration(proto, stringify!($of), $prefix);
        for (name, number) in &numbers {
            let ours = $of::try_from(*number).map(|of| format!("{of:?}").to_lowercase());
            assert_eq!(ours.as_ref(), Ok(name));
        }
        let ours = (-1000..1000).filter(|number| $of::try_from(*number).is_ok()).count();
        assert_eq!(ours, numbers.len(), "a number that {} lacks", $file);
    }};
}

#[test]
fn enumerations_have_their_numbers() {
    hold_enumeration!("process.proto", Status, "");
    hold_enumeration!("snapshots.proto", Kind, "");
    hold_enumeration!("bootstrap.proto", LogLevel, "LOG_LEVEL_");
    hold_enumeration!("bootstrap.proto", Capability, "CAPABILITY_");
}

#[test]
fn methods_are_those_of_both_versions() {
    for proto in
        [include_str!("../fixtures/task-v2.proto"), include_str!("../fixtures/task-v3.proto")]
    {
        let service = blocks(proto, "service").remove("Task").unwrap();
        let defined: BTreeSet<_> = service
            .iter()
            .map(|line| line.strip_prefix("rpc ").unwrap().split('(').next().unwrap().to_owned())
            .collect();
        let ours: BTreeSet<_> = Method::ALL.iter().map(|method| method.to_string()).collect();
        assert_eq!(ours, defined);
    }
}
