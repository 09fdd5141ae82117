//! `PanicReport`, and panics of destructors.

use procession::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::expected::expect;
use crate::leftovers::alone;
use crate::{failure, quiet};

const PANIC_LINE: u32 = line!() + 2;
fn panic_with(what: String) -> u32 {
    panic!("it was {what}")
}

#[procession::test]
async fn panic_report_has_message_and_location() {
    let (error, _) = failure(panic_with, "bad".to_owned()).await;
    let report = error.panic().unwrap();
    assert_eq!(report.message(), "it was bad");
    assert_eq!(
        report.location(),
        format!("tests/errors/panics.rs:{PANIC_LINE}:5")
    );
    let message = error.to_string();
    assert!(
        message.contains("it was bad") && message.contains(report.location()),
        "{message}"
    );
}

#[procession::test]
async fn panic_report_has_a_backtrace_if_the_environment_asks_for_it() {
    let spawn = |on: &[(&str, &str)]| {
        let builder = quiet()
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE");
        builder
            .envs(on.iter().copied())
            .spawn(panic_with, "bad".to_owned())
    };
    let with = within(spawn(&[("RUST_BACKTRACE", "1")])).await.unwrap_err();
    let backtrace = with.panic().unwrap().backtrace().unwrap();
    assert!(
        backtrace.contains("errors::panics::panic_with"),
        "{backtrace}"
    );
    for off in [&[][..], &[("RUST_BACKTRACE", "0")]] {
        let without = within(spawn(off)).await.unwrap_err();
        assert_eq!(without.panic().unwrap().backtrace(), None, "{off:?}");
    }
}

#[procession::test]
async fn panic_report_exists_for_a_payload_without_text() {
    let (error, _) = failure(|| -> () { std::panic::panic_any(vec![1_u8]) }, ()).await;
    let report = error.panic().unwrap();
    assert!(!report.message().is_empty());
    assert!(
        report.location().starts_with("tests/errors/panics.rs:"),
        "{report:?}"
    );
}

#[procession::test]
async fn panic_message_that_is_long_arrives_at_least_in_part() {
    for len in [1 << 10, 64 << 10, 1 << 20] {
        let (error, _) = failure(panic_with, "é".repeat(len)).await;
        let message = error.panic().unwrap().message();
        assert!(message.starts_with("it was éé"), "{len}");
        assert_eq!(error.kind(), ErrorKind::Panicked);
    }
}

#[procession::test]
async fn panic_message_of_many_lines_is_displayed_on_one() {
    for separator in ["\n", "\r\n", "\n\n"] {
        let (error, _) = failure(panic_with, ["a", "b"].join(separator)).await;
        let message = error.to_string();
        assert_eq!(
            error.panic().unwrap().message(),
            format!("it was a{separator}b")
        );
        assert!(!message.contains(['\n', '\r']), "{message:?}");
    }
}

#[procession::test]
async fn panic_after_an_await_is_reported() {
    async fn panics_late() -> u32 {
        let inner = tokio::spawn(async { 1 });
        assert_eq!(inner.await.unwrap(), 2, "one is not two");
        0
    }
    let (error, _) = failure(panics_late, ()).await;
    let report = error.panic().unwrap();
    assert!(report.message().contains("one is not two"), "{report:?}");
}

#[procession::test]
async fn panic_report_does_not_depend_on_the_hook_of_the_task() {
    fn hooked() {
        std::panic::set_hook(Box::new(|_| ()));
        panic!("behind the hook");
    }
    let (error, _) = failure(hooked, ()).await;
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.panic().unwrap().message(), "behind the hook");
}

#[procession::test]
async fn panic_that_was_caught_is_not_reported() {
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

/// Panics when it is dropped in a child.
#[derive(Debug, Serialize, Deserialize)]
struct PanicsInChild(u32);

impl Drop for PanicsInChild {
    fn drop(&mut self) {
        assert!(!procession::current().is_child(), "dropped in a child");
    }
}

#[procession::test]
async fn result_that_panics_on_drop_in_the_child_gives_one_outcome() {
    alone(
        "panics::result_that_panics_on_drop_in_the_child_gives_one_outcome",
        async {
            // The result is encoded before the drop. The caller gets it, or the panic.
            match within(quiet().spawn(PanicsInChild, 3)).await {
                Ok(value) => assert_eq!(value.0, 3),
                Err(error) => assert!(error.is_panic(), "{error}"),
            }
        },
    )
    .await;
}

#[procession::test]
async fn argument_that_panics_on_drop_in_the_child_is_reported() {
    alone(
        "panics::argument_that_panics_on_drop_in_the_child_is_reported",
        async {
            let (error, pid) = failure(|_: PanicsInChild| (), PanicsInChild(1)).await;
            let task = error.task().to_owned();
            expect(ErrorKind::Panicked).check(&error, &task, pid);
        },
    )
    .await;
}

#[procession::test]
async fn panic_payload_that_panics_on_drop_is_reported() {
    fn throws() {
        std::panic::panic_any(PanicsInChild(0));
    }
    let (error, pid) = failure(throws, ()).await;
    expect(ErrorKind::Panicked).check(&error, std::any::type_name_of_val(&throws), pid);
}

/// Panics when it is dropped in the application.
#[derive(Debug, Serialize, Deserialize)]
struct PanicsInParent;

impl Drop for PanicsInParent {
    fn drop(&mut self) {
        assert!(
            procession::current().is_child() || std::thread::panicking(),
            "dropped in the parent"
        );
    }
}

#[procession::test]
async fn argument_that_panics_on_drop_in_the_parent_gives_one_outcome() {
    // The thread that the panic unwinds is unspecified. The handle must resolve in any case.
    let handle = quiet().spawn(|_: PanicsInParent| 1, PanicsInParent);
    let outcome = within(handle).await;
    assert!(matches!(outcome, Ok(1) | Err(_)), "{outcome:?}");
}

extern "C" fn cannot_unwind() {
    panic!("no cheese left")
}

fn abort_by_panic() {
    // A panic that was caught before is not the one to report.
    let caught = std::panic::catch_unwind(|| panic!("another"));
    assert!(caught.is_err());
    cannot_unwind();
}

/// As each panic does with `panic = "abort"`.
#[procession::test]
async fn panic_that_aborts_is_reported() {
    let check = |error: procession::JoinError| {
        assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
        assert_eq!(error.signal(), Some(libc::SIGABRT), "{error}");
        let report = error.panic().unwrap();
        assert_eq!(report.message(), "no cheese left");
        assert!(report.location().starts_with("tests/errors/panics.rs:"));
    };
    check(failure(abort_by_panic, ()).await.0);
    let pool = procession::Pool::with_workers(1).unwrap();
    check(within(pool.run(abort_by_panic, ())).await.unwrap_err());
    assert_eq!(within(pool.run(|x: u32| x, 1)).await.unwrap(), 1);
}

#[procession::test]
async fn abort_after_a_caught_panic_is_no_panic() {
    fn abort() {
        let caught = std::panic::catch_unwind(|| panic!("another"));
        assert!(caught.is_err());
        std::process::abort();
    }
    let (error, _) = failure(abort, ()).await;
    assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
    assert!(error.panic().is_none());
}

#[procession::test]
async fn panic_that_aborts_a_preload_or_an_initializer_is_reported() {
    let initialized = procession::Pool::builder().initializer(abort_by_panic, ());
    let preloaded = procession::Pool::builder().preload(abort_by_panic, ());
    for builder in [initialized, preloaded] {
        let pool = builder.workers(1).build().unwrap();
        let error = within(pool.run(|x: u32| x, 1)).await.unwrap_err();
        assert!(error.to_string().contains("no cheese left"), "{error}");
    }
}
