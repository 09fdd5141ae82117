//! What is reported of a panic.

use procession::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::expected::expect;
use crate::leftovers::alone;
use crate::{failure, quiet};

const PANIC_LINE: u32 = line!() + 2;
fn panics(what: String) -> u32 {
    panic!("it was {what}")
}

#[procession::test]
async fn a_panic_is_reported_with_its_message_and_place() {
    let (error, _) = failure(panics, "bad".to_owned()).await;
    let report = error.panic().unwrap();
    assert_eq!(report.message(), "it was bad");
    assert_eq!(
        report.location(),
        format!("tests/errors/panics.rs:{PANIC_LINE}:5")
    );
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
        report.location().starts_with("tests/errors/panics.rs:"),
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
    alone(
        "panics::a_result_that_panics_when_it_is_dropped_there",
        async {
            // It has been encoded by then: the caller has it, or is told of the panic.
            match within(quiet().spawn(PanicsThere, 3)).await {
                Ok(value) => assert_eq!(value.0, 3),
                Err(error) => assert!(error.is_panic(), "{error}"),
            }
        },
    )
    .await;
}

#[procession::test]
async fn an_argument_that_panics_when_it_is_dropped_there() {
    alone(
        "panics::an_argument_that_panics_when_it_is_dropped_there",
        async {
            let (error, pid) = failure(|_: PanicsThere| (), PanicsThere(1)).await;
            let task = error.task().to_owned();
            expect(ErrorKind::Panicked).check(&error, &task, pid);
        },
    )
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
