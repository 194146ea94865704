//! Files that are no component, or not one for this host.

use crate::case::{Case, Comes};
use crate::guest::Guest;
use tidegate_types::decision::Decision;

const HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

fn good() -> Guest {
    Guest::new(Decision::Authorize)
}

fn bytes(name: &'static str, component: Vec<u8>, error: &'static str) -> Case {
    Case::of(name, Decision::Authorize, component, Comes::Refused(error))
}

fn text(name: &'static str, component: &str, error: &'static str) -> Case {
    bytes(name, wat::parse_str(component).expect("a component"), error)
}

pub fn other_things() -> Vec<Case> {
    let mut cut = good().build();
    cut.truncate(cut.len() / 2);
    let mut strange = good().build();
    strange[4] = 0x7f;
    let nested = format!("{}{}", "(component ".repeat(80), ")".repeat(80));
    vec![
        bytes("an empty file", Vec::new(), "NotAComponent"),
        bytes("a script", b"#!/bin/sh\necho hello\n".to_vec(), "NotAComponent"),
        bytes("an unwrapped module", good().build_unwrapped(), "NotAComponent"),
        bytes("WebAssembly of the future", strange, "NotAComponent"),
        bytes("half a component", cut, "Invalid"),
        bytes("a component's head alone", HEADER.to_vec(), "WrongWorld"),
        text("a component of components", &nested, "WrongWorld"),
    ]
}

pub fn other_versions() -> Vec<Case> {
    vec![
        Case::new(
            "a component for another version",
            good().of_version("2.0.0"),
            Comes::Refused("OtherVersion"),
        ),
        Case::new(
            "a component for an older version",
            good().of_version("0.9.0"),
            Comes::Refused("OtherVersion"),
        ),
    ]
}

pub fn other_interfaces() -> Vec<Case> {
    let with = |component: &str| format!("(component (import \"{component}\" (instance)))");
    let shouting = good()
        .instead_of(
            "log: func(level: string, message: string);",
            "log: func(level: string, message: string, times: u32);",
        )
        .instead_of(
            "\"log\" (func $log (param i32 i32 i32 i32))",
            "\"log\" (func $log (param i32 i32 i32 i32 i32))",
        );
    let wider = good().instead_of("room-people: u32", "room-people: u64");
    let clock = good().with_foreign_import().misbehave("(drop (call $now))");
    vec![
        Case::new("a component that asks the time", clock, Comes::Refused("ImportNotGranted")),
        text("a component that opens sockets", &with("wasi:sockets/tcp@0.2.0"), "ImportNotGranted"),
        text(
            "a component that wants more of the host",
            &with("tidegate:policy/host-network@1.1.0"),
            "ImportNotGranted",
        ),
        Case::new("a component that logs otherwise", shouting, Comes::Refused("Invalid")),
        Case::new("a component that is asked otherwise", wider, Comes::Refused("Invalid")),
        bytes("a component for another decision", Guest::new(Decision::Balance).build(), "WrongWorld"),
    ]
}
