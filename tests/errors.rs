//! Every kind of error, from every place it can come from.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "what a task is given is its own"
)]
#![allow(unsafe_code, reason = "one task has to write where it may not")]

mod deadline;
mod leftovers;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use deadline::within;
use leftovers::alone;
use procession::{ErrorKind, JoinError, Process, Task};
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteBuf;

/// A process that says nothing: what its tasks cry while they fail is not for the terminal.
fn quiet() -> procession::ProcessBuilder {
    Process::builder().stderr(Stdio::null())
}

/// What an error is expected to say.
#[derive(Debug, Clone, Copy)]
struct Expected {
    kind: ErrorKind,
    started: bool,
    ran_somewhere: bool,
    signals: &'static [i32],
    exit_code: Option<i32>,
}

const fn expect(kind: ErrorKind) -> Expected {
    Expected {
        kind,
        started: true,
        ran_somewhere: true,
        signals: &[],
        exit_code: None,
    }
}

impl Expected {
    const fn never_started(self) -> Self {
        Self {
            started: false,
            ..self
        }
    }

    const fn nowhere(self) -> Self {
        Self {
            ran_somewhere: false,
            ..self.never_started()
        }
    }

    const fn by(self, signals: &'static [i32]) -> Self {
        Self { signals, ..self }
    }

    const fn with_code(self, code: i32) -> Self {
        Self {
            exit_code: Some(code),
            ..self
        }
    }

    #[track_caller]
    fn check(&self, error: &JoinError, task: &str, pid: Option<u32>) {
        let said = error.to_string();
        assert_eq!(error.kind(), self.kind, "{error:?}");
        assert_eq!(true_predicates(error), [self.kind], "{error:?}");
        assert_eq!(error.started(), self.started, "{error:?}");
        assert_eq!(error.exit_code(), self.exit_code, "{error:?}");
        assert_eq!(error.task(), task, "{error:?}");
        assert!(!said.contains('\n'), "{said}");
        assert!(said.contains(task), "{said}");
        assert!(!said.ends_with(' ') && !said.contains("  "), "{said}");
        match error.signal() {
            None => assert!(self.signals.is_empty(), "{error:?}"),
            Some(signal) => {
                assert!(self.signals.contains(&signal), "{error:?}");
                assert!(said.contains(name_of(signal)), "{said}");
            }
        }
        if self.ran_somewhere {
            assert_eq!(error.pid(), pid, "{error:?}");
            let pid = pid.map(|pid| format!("pid {pid}"));
            assert!(pid.is_some_and(|pid| said.contains(&pid)), "{said}");
        } else {
            assert_eq!(error.pid(), None, "{error:?}");
        }
        if let Some(code) = self.exit_code {
            assert!(said.contains(&format!("status {code}")), "{said}");
        }
        assert_eq!(error.panic().is_some(), self.kind == ErrorKind::Panicked);
        if let Some(report) = error.panic() {
            assert!(said.contains(report.location()), "{said}");
        }
    }
}

/// The predicates that hold, by the kind they ask for.
fn true_predicates(error: &JoinError) -> Vec<ErrorKind> {
    [
        (error.is_panic(), ErrorKind::Panicked),
        (error.is_crashed(), ErrorKind::Crashed),
        (error.is_exited(), ErrorKind::Exited),
        (error.is_timed_out(), ErrorKind::TimedOut),
        (error.is_cancelled(), ErrorKind::Cancelled),
        (error.is_memory_exceeded(), ErrorKind::MemoryExceeded),
        (error.is_encode(), ErrorKind::Encode),
        (error.is_decode(), ErrorKind::Decode),
        (error.is_spawn(), ErrorKind::Spawn),
        (error.is_closed(), ErrorKind::Closed),
    ]
    .into_iter()
    .filter_map(|(holds, kind)| holds.then_some(kind))
    .collect()
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        _ => unreachable!("no test ends a process by signal {signal}"),
    }
}

/// Calls `f`, which fails, and gives the error and the number of the process.
async fn failure<F, M, A>(f: F, args: A) -> (JoinError, Option<u32>)
where
    F: Task<M, A>,
{
    let mut handle = quiet().spawn(f, args);
    let outcome = within(&mut handle).await;
    match outcome {
        Ok(_) => panic!("`{}` was expected to fail", std::any::type_name::<F>()),
        Err(error) => (error, handle.pid()),
    }
}

/// Where a value is being handled when it goes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    EncodeArguments,
    DecodeArguments,
    Run,
    EncodeResult,
    DecodeResult,
    Nowhere,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fault {
    /// The (de)serialiser says no.
    Error,
    Panic,
    PanicWithoutText,
    Abort,
    Exit(i32),
    Kill,
    Overflow,
    WriteThroughNull,
}

use Fault::{Abort, Error, Exit, Kill, Overflow, Panic, PanicWithoutText, WriteThroughNull};

impl Fault {
    fn strike(self) -> Result<(), &'static str> {
        match self {
            Error => return Err("no, it says"),
            Panic => panic!("a {} word", "last"),
            PanicWithoutText => std::panic::panic_any(5),
            Abort => std::process::abort(),
            Exit(code) => std::process::exit(code),
            Kill => rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap(),
            Overflow => {
                overflow(0);
            }
            WriteThroughNull => {
                // Not address zero itself: debug builds turn that into a panic.
                let nowhere = std::ptr::without_provenance_mut::<u8>(8);
                // SAFETY: there is none. Nothing is ever mapped in the first page, so the process
                // gets the signal it is here for.
                unsafe { nowhere.write_volatile(1) };
            }
        }
        unreachable!("{self:?} has no end")
    }
}

#[allow(unconditional_recursion, reason = "it is about the stack's end")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + std::hint::black_box(frame)[1]
}

/// An argument and a result that goes off at one place.
#[derive(Debug, Clone, PartialEq)]
struct Bomb {
    place: Place,
    fault: Fault,
    weight: ByteBuf,
}

impl Bomb {
    fn new(place: Place, fault: Fault, weight: usize) -> Self {
        Self {
            place,
            fault,
            weight: ByteBuf::from(vec![7; weight]),
        }
    }

    fn pass(&self, there: Place, here: Place) -> Result<(), &'static str> {
        let place = match procession::current().is_child() {
            true => there,
            false => here,
        };
        match self.place == place {
            true => self.fault.strike(),
            false => Ok(()),
        }
    }
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fine = self.pass(Place::EncodeResult, Place::EncodeArguments);
        fine.map_err(ser::Error::custom)?;
        (self.place, self.fault, &self.weight).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, fault, weight) = Deserialize::deserialize(deserializer)?;
        let bomb = Self {
            place,
            fault,
            weight,
        };
        let fine = bomb.pass(Place::DecodeArguments, Place::DecodeResult);
        fine.map_err(de::Error::custom)?;
        Ok(bomb)
    }
}

fn carried(bomb: Bomb) -> Bomb {
    bomb.pass(Place::Run, Place::Nowhere).unwrap();
    bomb
}

async fn carried_later(bomb: Bomb) -> Bomb {
    tokio::task::yield_now().await;
    carried(bomb)
}

/// Inline in a ring, and in shared memory of its own.
const WEIGHTS: [usize; 2] = [0, 1 << 20];

async fn check(place: Place, fault: Fault, expected: Expected) {
    for weight in WEIGHTS {
        let bomb = Bomb::new(place, fault, weight);
        let (error, pid) = failure(carried, bomb.clone()).await;
        expected.check(&error, std::any::type_name_of_val(&carried), pid);
        let (error, pid) = failure(carried_later, bomb).await;
        expected.check(&error, std::any::type_name_of_val(&carried_later), pid);
    }
}

#[procession::test]
async fn a_bomb_that_is_not_lit_comes_back() {
    for weight in WEIGHTS {
        let bomb = Bomb::new(Place::Nowhere, Abort, weight);
        let back = within(procession::spawn(carried, bomb.clone()))
            .await
            .unwrap();
        assert!(back == bomb);
    }
}

#[procession::test]
async fn encoding_the_arguments_fails() {
    alone("encoding_the_arguments_fails", async {
        for fault in [Error, Panic, PanicWithoutText] {
            let expected = expect(ErrorKind::Encode).nowhere();
            check(Place::EncodeArguments, fault, expected).await;
        }
    })
    .await;
}

#[procession::test]
async fn decoding_the_arguments_fails() {
    alone("decoding_the_arguments_fails", async {
        for fault in [Error, Panic, PanicWithoutText] {
            let expected = expect(ErrorKind::Decode).never_started();
            check(Place::DecodeArguments, fault, expected).await;
        }
    })
    .await;
}

#[procession::test]
async fn the_function_panics() {
    alone("the_function_panics", async {
        for fault in [Panic, PanicWithoutText] {
            check(Place::Run, fault, expect(ErrorKind::Panicked)).await;
        }
    })
    .await;
}

#[procession::test]
async fn encoding_the_result_fails() {
    alone("encoding_the_result_fails", async {
        for fault in [Error, Panic, PanicWithoutText] {
            check(Place::EncodeResult, fault, expect(ErrorKind::Encode)).await;
        }
    })
    .await;
}

#[procession::test]
async fn decoding_the_result_fails() {
    alone("decoding_the_result_fails", async {
        for fault in [Error, Panic, PanicWithoutText] {
            check(Place::DecodeResult, fault, expect(ErrorKind::Decode)).await;
        }
    })
    .await;
}

/// The places that are in the child, where anything may happen.
async fn check_everywhere_there(fault: Fault, expected: Expected) {
    for place in [Place::DecodeArguments, Place::Run, Place::EncodeResult] {
        check(place, fault, expected).await;
    }
}

#[procession::test]
async fn the_process_aborts() {
    alone("the_process_aborts", async {
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGABRT]);
        check_everywhere_there(Abort, expected).await;
    })
    .await;
}

#[procession::test]
async fn the_process_exits() {
    alone("the_process_exits", async {
        for code in [0, 3, 70, 101] {
            let expected = expect(ErrorKind::Exited).with_code(code);
            check_everywhere_there(Exit(code), expected).await;
        }
    })
    .await;
}

#[procession::test]
async fn the_process_is_killed() {
    alone("the_process_is_killed", async {
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGKILL]);
        check_everywhere_there(Kill, expected).await;
    })
    .await;
}

#[procession::test]
async fn the_stack_overflows() {
    alone("the_stack_overflows", async {
        // With `std`'s handler, which a test's children do not have, it is an abort.
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGSEGV, libc::SIGABRT]);
        check_everywhere_there(Overflow, expected).await;
    })
    .await;
}

#[procession::test]
async fn memory_is_touched_that_is_not_there() {
    alone("memory_is_touched_that_is_not_there", async {
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGSEGV]);
        check_everywhere_there(WriteThroughNull, expected).await;
    })
    .await;
}

const PANIC_LINE: u32 = line!() + 2;
fn panics(what: String) -> u32 {
    panic!("it was {what}")
}

#[procession::test]
async fn a_panic_is_reported_with_its_message_and_place() {
    let (error, _) = failure(panics, "bad".to_owned()).await;
    let report = error.panic().unwrap();
    assert_eq!(report.message(), "it was bad");
    assert_eq!(report.location(), format!("tests/errors.rs:{PANIC_LINE}:5"));
    let said = error.to_string();
    assert!(
        said.contains("it was bad") && said.contains(report.location()),
        "{said}"
    );
}

#[procession::test]
async fn a_panic_has_a_backtrace_if_the_environment_asks_for_one() {
    let spawn = |on: &[(&str, &str)]| {
        let builder = quiet()
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE");
        builder
            .envs(on.iter().copied())
            .spawn(panics, "bad".to_owned())
    };
    let with = within(spawn(&[("RUST_BACKTRACE", "1")])).await.unwrap_err();
    let backtrace = with.panic().unwrap().backtrace().unwrap();
    assert!(backtrace.contains("errors::panics"), "{backtrace}");
    for off in [&[][..], &[("RUST_BACKTRACE", "0")]] {
        let without = within(spawn(off)).await.unwrap_err();
        assert_eq!(without.panic().unwrap().backtrace(), None, "{off:?}");
    }
}

#[procession::test]
async fn a_panic_without_text_is_one_all_the_same() {
    let (error, _) = failure(|| -> () { std::panic::panic_any(vec![1_u8]) }, ()).await;
    let report = error.panic().unwrap();
    assert!(!report.message().is_empty());
    assert!(
        report.location().starts_with("tests/errors.rs:"),
        "{report:?}"
    );
}

#[procession::test]
async fn a_long_panic_message_arrives_at_least_in_part() {
    for len in [1 << 10, 64 << 10, 1 << 20] {
        let (error, _) = failure(panics, "é".repeat(len)).await;
        let message = error.panic().unwrap().message();
        assert!(message.starts_with("it was éé"), "{len}");
        assert_eq!(error.kind(), ErrorKind::Panicked);
    }
}

#[procession::test]
async fn a_panic_of_many_lines_is_displayed_on_one() {
    for separator in ["\n", "\r\n", "\n\n"] {
        let (error, _) = failure(panics, ["a", "b"].join(separator)).await;
        let said = error.to_string();
        assert_eq!(
            error.panic().unwrap().message(),
            format!("it was a{separator}b")
        );
        assert!(!said.contains(['\n', '\r']), "{said:?}");
    }
}

#[procession::test]
async fn a_panic_in_an_await_is_the_functions() {
    async fn panics_late() -> u32 {
        let inner = tokio::spawn(async { 1 });
        assert_eq!(inner.await.unwrap(), 2, "one is not two");
        0
    }
    let (error, _) = failure(panics_late, ()).await;
    let report = error.panic().unwrap();
    assert!(report.message().contains("one is not two"), "{report:?}");
}

/// A hook that the task itself sets does not take the report away.
#[procession::test]
async fn a_task_with_a_panic_hook_of_its_own() {
    fn hooked() {
        std::panic::set_hook(Box::new(|_| ()));
        panic!("behind the hook");
    }
    let (error, _) = failure(hooked, ()).await;
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.panic().unwrap().message(), "behind the hook");
}

/// A panic that the task caught is not the one it ended with.
#[procession::test]
async fn a_panic_that_was_caught_is_not_reported() {
    fn caught() -> u32 {
        std::panic::catch_unwind(|| panic!("caught")).unwrap_err();
        4
    }
    assert_eq!(within(quiet().spawn(caught, ())).await.unwrap(), 4);
    fn caught_then_panics() {
        caught();
        std::panic::resume_unwind(Box::new("thrown"));
    }
    let (error, _) = failure(caught_then_panics, ()).await;
    assert_eq!(error.panic().unwrap().message(), "thrown");
}

/// Panics where it is dropped, if that is in a child.
#[derive(Debug, Serialize, Deserialize)]
struct PanicsThere(u32);

impl Drop for PanicsThere {
    fn drop(&mut self) {
        assert!(!procession::current().is_child(), "dropped in a child");
    }
}

#[procession::test]
async fn a_result_that_panics_when_it_is_dropped_there() {
    alone("a_result_that_panics_when_it_is_dropped_there", async {
        // It has been encoded by then: the caller has it, or is told of the panic.
        match within(quiet().spawn(PanicsThere, 3)).await {
            Ok(value) => assert_eq!(value.0, 3),
            Err(error) => assert!(error.is_panic(), "{error}"),
        }
    })
    .await;
}

#[procession::test]
async fn an_argument_that_panics_when_it_is_dropped_there() {
    alone("an_argument_that_panics_when_it_is_dropped_there", async {
        let (error, pid) = failure(|_: PanicsThere| (), PanicsThere(1)).await;
        let task = error.task().to_owned();
        expect(ErrorKind::Panicked).check(&error, &task, pid);
    })
    .await;
}

#[procession::test]
async fn a_payload_that_panics_when_it_is_dropped() {
    fn throws() {
        std::panic::panic_any(PanicsThere(0));
    }
    let (error, pid) = failure(throws, ()).await;
    expect(ErrorKind::Panicked).check(&error, std::any::type_name_of_val(&throws), pid);
}

/// Panics where it is dropped, if that is here.
#[derive(Debug, Serialize, Deserialize)]
struct PanicsHere;

impl Drop for PanicsHere {
    fn drop(&mut self) {
        assert!(
            procession::current().is_child() || std::thread::panicking(),
            "dropped in the parent"
        );
    }
}

#[procession::test]
async fn an_argument_that_panics_when_it_is_dropped_here() {
    // Whose thread the panic unwinds is not said. Somebody who awaits must be told something.
    let handle = quiet().spawn(|_: PanicsHere| 1, PanicsHere);
    let outcome = within(handle).await;
    assert!(matches!(outcome, Ok(1) | Err(_)), "{outcome:?}");
}

/// Says it has another length whenever it is asked.
#[derive(Debug)]
struct Fickle(AtomicI64, i64);

impl Serialize for Fickle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let len = self.0.fetch_add(self.1, Ordering::Relaxed);
        ByteBuf::from(vec![1; len as usize]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fickle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _: ByteBuf = Deserialize::deserialize(deserializer)?;
        Ok(Self(AtomicI64::new(0), 0))
    }
}

#[procession::test]
async fn a_value_that_changes_while_it_is_encoded() {
    alone("a_value_that_changes_while_it_is_encoded", async {
        for step in [1, -1] {
            let made = |step: i64| Fickle(AtomicI64::new(100 << 10), step);
            let fickle = made(step);
            let outcome = within(quiet().spawn(|_: Fickle| (), fickle)).await;
            assert!(outcome.is_err_and(|error| error.is_encode()));
            let outcome = within(quiet().spawn(made, step)).await;
            assert!(outcome.is_err_and(|error| error.is_encode()));
        }
    })
    .await;
}

mod not_self_describing {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Inner {
        pub(crate) n: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Flattened {
        #[serde(flatten)]
        pub(crate) inner: Inner,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    pub(crate) enum Untagged {
        Number(u32),
        Text(String),
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    pub(crate) enum Tagged {
        Inner { n: u32 },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Skipping {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) maybe: Option<u32>,
    }
}

/// Attributes of serde that need a format which describes itself are refused, both ways, with a message
/// that says it.
#[procession::test]
async fn what_the_encoding_cannot_carry_is_refused() {
    use not_self_describing::{Flattened, Inner, Skipping, Tagged, Untagged};

    #[track_caller]
    fn refused(error: &JoinError) {
        assert!(error.is_encode() || error.is_decode(), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("self-describing") && !said.contains('\n'),
            "{said}"
        );
    }
    let flattened = || Flattened {
        inner: Inner { n: 1 },
    };
    refused(&failure(|_: Flattened| (), flattened()).await.0);
    refused(&failure(|_: Untagged| (), Untagged::Number(1)).await.0);
    refused(
        &failure(|_: Untagged| (), Untagged::Text(String::new()))
            .await
            .0,
    );
    refused(&failure(|_: Tagged| (), Tagged::Inner { n: 1 }).await.0);
    refused(&failure(|_: Skipping| (), Skipping { maybe: None }).await.0);

    refused(
        &failure(|n: u32| Flattened { inner: Inner { n } }, 1)
            .await
            .0,
    );
    refused(&failure(Untagged::Number, 1).await.0);
    refused(&failure(Untagged::Text, "x".to_owned()).await.0);
    refused(&failure(|n: u32| Tagged::Inner { n }, 1).await.0);
    refused(&failure(|| Skipping { maybe: None }, ()).await.0);
}

#[procession::test]
async fn an_error_says_which_side_it_is_about() {
    let bomb = |place| Bomb::new(place, Panic, 0);
    for place in [Place::EncodeArguments, Place::DecodeArguments] {
        let said = failure(carried, bomb(place)).await.0.to_string();
        assert!(
            said.contains("argument") && said.contains("a last word"),
            "{said}"
        );
    }
    for place in [Place::EncodeResult, Place::DecodeResult] {
        let said = failure(carried, bomb(place)).await.0.to_string();
        assert!(
            said.contains("result") && said.contains("a last word"),
            "{said}"
        );
    }
}

/// A worker's death takes nobody else along.
#[procession::test]
async fn others_go_on_when_one_crashes() {
    alone("others_go_on_when_one_crashes", async {
        let crash = |n: u32| match n.is_multiple_of(2) {
            true => std::process::abort(),
            false => n,
        };
        let calls = (0..16).map(|n| quiet().spawn(crash, n));
        let outcomes = within(futures::future::join_all(calls)).await;
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert_eq!((value as usize, n % 2), (n, 1)),
                Err(error) => assert!(error.is_crashed() && n % 2 == 0, "{n}: {error}"),
            }
        }
    })
    .await;
}

/// `started() == false` is a promise: the function certainly never ran.
#[procession::test]
async fn what_did_not_start_left_no_trace() {
    alone("what_did_not_start_left_no_trace", async {
        let mut touched = 0;
        let mut pause = std::time::Duration::ZERO;
        // The pause grows until the kill comes too late every time, so every step of the start is hit.
        while touched < 20 {
            let trace = scratch("trace");
            let mut handle = quiet().spawn(leaves_a_trace, trace.clone());
            while handle.pid().is_none() {
                tokio::task::yield_now().await; // and not later than that
            }
            std::thread::sleep(pause);
            handle.signal(libc::SIGKILL);
            let error = within(&mut handle).await.unwrap_err();
            let ran = std::fs::remove_file(&trace).is_ok();
            assert!(error.started() || !ran, "it ran: {error:?}");
            assert_eq!(error.pid(), handle.pid());
            assert_eq!(
                (error.kind(), error.signal()),
                (ErrorKind::Crashed, Some(libc::SIGKILL))
            );
            touched += usize::from(ran);
            pause += std::time::Duration::from_micros(100);
        }
    })
    .await;
}

/// The dynamic linker ends the child before anything of ours runs in it.
#[cfg(target_env = "gnu")]
#[procession::test]
async fn a_child_that_never_arrives() {
    alone("a_child_that_never_arrives", async {
        let mut handle = quiet()
            .env("LD_DEBUG", "help")
            .stdout(Stdio::null())
            .spawn(|| 1, ());
        let error = within(&mut handle).await.unwrap_err();
        let task = error.task().to_owned();
        let expected = expect(ErrorKind::Spawn).never_started().with_code(0);
        expected.check(&error, &task, handle.pid());
    })
    .await;
}

#[test]
fn outside_a_runtime() {
    let handle = procession::spawn(|| 1, ());
    assert_eq!(handle.pid(), None);
    assert!(handle.is_finished());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(within(handle)).unwrap_err();
    let task = error.task().to_owned();
    expect(ErrorKind::Spawn)
        .nowhere()
        .check(&error, &task, None);
    assert!(error.to_string().contains("runtime"), "{error}");
}

/// Runtimes that lack what a process needs to be attended to.
#[procession::test]
async fn in_a_runtime_without_drivers() {
    alone("in_a_runtime_without_drivers", async {
        let mut bare = tokio::runtime::Builder::new_current_thread();
        let mut only_io = tokio::runtime::Builder::new_current_thread();
        let mut only_time = tokio::runtime::Builder::new_current_thread();
        for runtime in [&mut bare, only_io.enable_io(), only_time.enable_time()] {
            let runtime = runtime.build().unwrap();
            let spawn = move || runtime.block_on(async { quiet().spawn(|| 1, ()).await });
            match std::thread::spawn(spawn).join().unwrap() {
                Ok(value) => assert_eq!(value, 1),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Spawn, "{error}"),
            }
        }
    })
    .await;
}

/// A paused clock jumps ahead whenever its runtime is idle. A start takes no longer for that.
#[procession::test]
async fn in_a_runtime_whose_clock_is_paused() {
    let paused = tokio::task::spawn_blocking(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for _ in 0..5 {
                assert_eq!(quiet().spawn(|| 1, ()).await.unwrap(), 1);
            }
        });
    });
    within(paused).await.unwrap();
}

/// A handle that survives the runtime which attended to its process is told so, and the process is
/// gone.
#[procession::test]
async fn the_runtime_ends_first() {
    alone("the_runtime_ends_first", async {
        let path = scratch("started");
        let there = path.clone();
        #[allow(clippy::async_yields_async, reason = "it is the handle that survives")]
        let spawn_and_end = move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let handle = quiet().spawn(leaves_a_trace, there.clone());
                deadline::until(|| there.exists()).await;
                handle
            })
        };
        let mut handle = std::thread::spawn(spawn_and_end).join().unwrap();
        let error = within(&mut handle).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.started(), "it ran: {error:?}");
        assert!(within(handle.exited()).await.is_err());
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

#[procession::test]
async fn the_runtime_ends_at_any_moment() {
    alone("the_runtime_ends_at_any_moment", async {
        for n in 0..60 {
            let path = scratch("trace");
            let there = path.clone();
            #[allow(clippy::async_yields_async, reason = "it is the handle that survives")]
            let spawn_and_end = move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                let handle = runtime.block_on(async { quiet().spawn(leaves_a_trace, there) });
                std::thread::sleep(std::time::Duration::from_micros(n * 120));
                match n % 2 {
                    0 => drop(runtime),
                    _ => runtime.shutdown_background(),
                }
                handle
            };
            let mut handle = std::thread::spawn(spawn_and_end).join().unwrap();
            let error = within(&mut handle).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            deadline::until(|| leftovers::descendants().is_empty()).await;
            let ran = std::fs::remove_file(path).is_ok();
            assert!(error.started() || !ran, "it ran: {error:?}");
        }
    })
    .await;
}

/// Somebody else in the program waits for whichever child ends. It costs the status, and no more.
#[procession::test]
async fn another_takes_the_exit_status_away() {
    alone("another_takes_the_exit_status_away", async {
        let stop = Arc::new(AtomicBool::new(false));
        let other = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // Without waiting: what forks children is a child that stays.
                    let _ = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
                    std::thread::yield_now();
                }
            }
        });
        for _ in 0..20 {
            assert_eq!(within(quiet().spawn(|| 1, ())).await.unwrap(), 1);
            let aborts = quiet().spawn(|| -> () { std::process::abort() }, ());
            let error = within(aborts).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.started()),
                (ErrorKind::Crashed, true),
                "{error:?}"
            );
        }
        stop.store(true, Ordering::Relaxed);
        other.join().unwrap();
    })
    .await;
}

fn scratch(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn leaves_a_trace(path: PathBuf) {
    std::fs::write(path, "ran").unwrap();
    parked();
}

fn parked() {
    loop {
        std::thread::park();
    }
}

#[test]
fn errors_go_anywhere() {
    fn anywhere<T: std::error::Error + Clone + Send + Sync + Unpin + 'static>() {}
    anywhere::<JoinError>();
    fn value<T: Copy + Eq + std::fmt::Debug + Send + Sync>() {}
    value::<ErrorKind>();
}
