//! Each interface is held to reaching nothing.

use super::answers::{Asked, Kind, Reply};
use super::stands_in;
use tidegate_types::decision::Moment;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Type, Val};

const MOMENT: Moment = Moment { unix_ms: 1_800_000_000_123, seed: 7 };

fn ask(interface: &str, function: &str, parameters: &[Val]) -> Reply {
    Asked::new(&format!("wasi:{interface}@0.2.3"), function).answer(MOMENT, parameters, None)
}

/// The same of a function that can fail, with this type of error.
fn ask_what_fails(interface: &str, function: &str, error: &str) -> Reply {
    let text = format!(
        "(component (import \"test:it/it\" (instance (type $t {error}) (export \"e\" (type $e (eq $t)))
           (export \"f\" (func (result (result (error $e))))))))"
    );
    let engine = Engine::default();
    let component = Component::new(&engine, wat::parse_str(text).expect("text")).expect("a component");
    let result = result_of_f(&engine, &component);
    Asked::new(&format!("wasi:{interface}@0.2.3"), function).answer(MOMENT, &[], Some(result))
}

fn result_of_f(engine: &Engine, component: &Component) -> Type {
    let shape = component.component_type();
    let (_, import) = shape.imports(engine).next().expect("one import");
    let ComponentItem::ComponentInstance(interface) = import.ty else { panic!("an instance") };
    let function = interface.exports(engine).find_map(|(_, item)| match item.ty {
        ComponentItem::ComponentFunc(function) => function.results().next(),
        _ => None,
    });
    function.expect("a result")
}

#[test]
fn only_some_packages_of_one_version_have_stand_ins() {
    assert_eq!(stands_in("tidegate:policy/host-log@1.0.0"), None);
    for known in ["wasi:clocks/wall-clock@0.2.0", "wasi:io/streams@0.2.12", "wasi:filesystem/types@0.2.3"] {
        assert_eq!(stands_in(known), Some(true), "{known}");
    }
    for unknown in [
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:keyvalue/store@0.2.0",
        "wasi:clocks/wall-clock@0.3.0",
        "wasi:clocks/wall-clock",
        "wasi:clocks",
    ] {
        assert_eq!(stands_in(unknown), Some(false), "{unknown}");
    }
}

#[test]
fn clocks_tell_the_questions_moment_and_wait_for_nothing() {
    let nanoseconds = Val::U64(1_800_000_000_123_000_000);
    assert_eq!(ask("clocks/monotonic-clock", "now", &[]), Reply::Value(nanoseconds));
    assert_eq!(
        ask("clocks/monotonic-clock", "subscribe-duration", &[Val::U64(1)]),
        Reply::Own(Kind::Pollable)
    );
    let time = |seconds, nanoseconds| {
        let fields = [("seconds".into(), Val::U64(seconds)), ("nanoseconds".into(), Val::U32(nanoseconds))];
        Reply::Value(Val::Record(fields.into()))
    };
    assert_eq!(ask("clocks/wall-clock", "now", &[]), time(1_800_000_000, 123_000_000));
    assert_eq!(ask("clocks/wall-clock", "resolution", &[]), time(0, 1_000_000));
}

#[test]
fn polling_finds_all_ready_at_once() {
    let three = Val::List(vec![Val::Bool(true); 3]);
    let all = Val::List(vec![Val::U32(0), Val::U32(1), Val::U32(2)]);
    assert_eq!(ask("io/poll", "poll", &[three]), Reply::Value(all));
    assert_eq!(ask("io/poll", "[method]pollable.ready", &[]), Reply::Value(Val::Bool(true)));
}

#[test]
fn chance_follows_from_the_seed_and_is_bounded() {
    let other = Moment { seed: 8, ..MOMENT };
    for interface in ["random/random", "random/insecure"] {
        let first = ask(interface, "get-random-u64", &[]);
        assert_eq!(first, ask(interface, "get-random-u64", &[]));
        let asked = Asked::new(&format!("wasi:{interface}@0.2.3"), "get-random-u64");
        assert_ne!(first, asked.answer(other, &[], None));
        let Reply::Value(Val::List(bytes)) = ask(interface, "get-random-bytes", &[Val::U64(32)]) else {
            panic!("no bytes of {interface}")
        };
        assert_eq!(bytes.len(), 32);
        assert_eq!(ask(interface, "get-random-bytes", &[Val::U64(u64::MAX)]), Reply::Refused);
    }
    assert_eq!(
        ask("random/insecure-seed", "insecure-seed", &[]),
        ask("random/insecure-seed", "insecure-seed", &[])
    );
}

#[test]
fn there_is_no_environment_no_terminal_and_no_folder() {
    let (empty, none) = (Reply::Value(Val::List(vec![])), Reply::Value(Val::Option(None)));
    assert_eq!(ask("cli/environment", "get-environment", &[]), empty);
    assert_eq!(ask("cli/environment", "get-arguments", &[]), empty);
    assert_eq!(ask("cli/environment", "initial-cwd", &[]), none);
    assert_eq!(ask("cli/terminal-stderr", "get-terminal-stderr", &[]), none);
    assert_eq!(ask("filesystem/preopens", "get-directories", &[]), empty);
    assert_eq!(ask("filesystem/types", "filesystem-error-code", &[]), none);
}

#[test]
fn files_are_not_permitted_and_input_is_at_its_end() {
    let refused = ask_what_fails(
        "filesystem/types",
        "[method]descriptor.open-at",
        "(enum \"access\" \"not-permitted\")",
    );
    let not_permitted = Val::Enum("not-permitted".into());
    assert_eq!(refused, Reply::Value(Val::Result(Err(Some(Box::new(not_permitted))))));
    for function in ["read", "blocking-read", "skip", "blocking-skip"] {
        let function = format!("[method]input-stream.{function}");
        let ended = ask_what_fails("io/streams", &function, "(variant (case \"failed\") (case \"closed\"))");
        let closed = Val::Variant("closed".into(), None);
        assert_eq!(ended, Reply::Value(Val::Result(Err(Some(Box::new(closed))))), "{function}");
    }
}

#[test]
fn what_is_written_goes_to_the_log() {
    let bytes = |text: &str| Val::List(text.bytes().map(Val::U8).collect());
    let done = || Val::Result(Ok(None));
    for function in ["write", "blocking-write-and-flush"] {
        let function = format!("[method]output-stream.{function}");
        let said = ask("io/streams", &function, &[Val::Bool(true), bytes("panic: oh\n")]);
        assert_eq!(said, Reply::Said("panic: oh\n".into(), done()));
    }
    assert_eq!(ask("cli/stderr", "get-stderr", &[]), Reply::Own(Kind::Output));
}

#[test]
fn ending_the_program_ends_the_guest() {
    assert_eq!(ask("cli/exit", "exit", &[Val::Result(Ok(None))]), Reply::Refused);
    assert_eq!(ask("io/poll", "unheard-of", &[]), Reply::Refused);
}
