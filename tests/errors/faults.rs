//! Every fault at every place.

use procession::ErrorKind;

use crate::deadline::within;
use crate::expected::{Expected, expect};
use crate::failure;
use crate::faulty::{Fault, Faulty, PAYLOADS, Place, echo, echo_async};
use crate::leftovers::alone;
use Fault::{Abort, Error, Exit, Kill, Overflow, Panic, PanicWithoutText, WriteThroughNull};

/// Checks a fault at a place, in a sync and an async function, with small and large values.
async fn check(place: Place, fault: Fault, expected: Expected) {
    for payload in PAYLOADS {
        let faulty = Faulty::new(place, fault, payload);
        let (error, pid) = failure(echo, faulty.clone()).await;
        expected.check(&error, std::any::type_name_of_val(&echo), pid);
        let (error, pid) = failure(echo_async, faulty).await;
        expected.check(&error, std::any::type_name_of_val(&echo_async), pid);
        if fault == Error {
            assert!(
                error.to_string().contains("reported an error: refused"),
                "{error}"
            );
        }
    }
}

#[procession::test]
async fn value_without_a_fault_comes_back_unchanged() {
    for payload in PAYLOADS {
        let faulty = Faulty::new(Place::Nowhere, Abort, payload);
        let back = within(procession::spawn(echo, faulty.clone()))
            .await
            .unwrap();
        assert!(back == faulty);
    }
}

#[procession::test]
async fn argument_encoding_failure_is_an_encode_error() {
    alone(
        "faults::argument_encoding_failure_is_an_encode_error",
        async {
            for fault in [Error, Panic, PanicWithoutText] {
                let expected = expect(ErrorKind::Encode).without_process();
                check(Place::EncodeArguments, fault, expected).await;
            }
        },
    )
    .await;
}

#[procession::test]
async fn argument_decoding_failure_is_a_decode_error() {
    alone(
        "faults::argument_decoding_failure_is_a_decode_error",
        async {
            for fault in [Error, Panic, PanicWithoutText] {
                let expected = expect(ErrorKind::Decode).never_started();
                check(Place::DecodeArguments, fault, expected).await;
            }
        },
    )
    .await;
}

#[procession::test]
async fn function_panic_is_a_panicked_error() {
    alone("faults::function_panic_is_a_panicked_error", async {
        for fault in [Panic, PanicWithoutText] {
            check(Place::Run, fault, expect(ErrorKind::Panicked)).await;
        }
    })
    .await;
}

#[procession::test]
async fn result_encoding_failure_is_an_encode_error() {
    alone(
        "faults::result_encoding_failure_is_an_encode_error",
        async {
            for fault in [Error, Panic, PanicWithoutText] {
                check(Place::EncodeResult, fault, expect(ErrorKind::Encode)).await;
            }
        },
    )
    .await;
}

#[procession::test]
async fn result_decoding_failure_is_a_decode_error() {
    alone("faults::result_decoding_failure_is_a_decode_error", async {
        for fault in [Error, Panic, PanicWithoutText] {
            check(Place::DecodeResult, fault, expect(ErrorKind::Decode)).await;
        }
    })
    .await;
}

/// Checks a fault at every place in the child.
async fn check_in_child(fault: Fault, expected: Expected) {
    for place in [Place::DecodeArguments, Place::Run, Place::EncodeResult] {
        check(place, fault, expected).await;
    }
}

#[procession::test]
async fn process_that_aborts_is_a_crashed_error() {
    alone("faults::process_that_aborts_is_a_crashed_error", async {
        let expected = expect(ErrorKind::Crashed).by_signal(&[libc::SIGABRT]);
        check_in_child(Abort, expected).await;
    })
    .await;
}

#[procession::test]
async fn process_that_exits_is_an_exited_error() {
    alone("faults::process_that_exits_is_an_exited_error", async {
        for code in [0, 3, 70, 101] {
            let expected = expect(ErrorKind::Exited).with_code(code);
            check_in_child(Exit(code), expected).await;
        }
    })
    .await;
}

#[procession::test]
async fn process_that_is_killed_is_a_crashed_error() {
    alone("faults::process_that_is_killed_is_a_crashed_error", async {
        let expected = expect(ErrorKind::Crashed).by_signal(&[libc::SIGKILL]);
        check_in_child(Kill, expected).await;
    })
    .await;
}

#[procession::test]
async fn stack_overflow_is_a_crashed_error() {
    alone("faults::stack_overflow_is_a_crashed_error", async {
        // SIGABRT is from the handler of `std`, which children of tests do not have.
        let expected = expect(ErrorKind::Crashed).by_signal(&[libc::SIGSEGV, libc::SIGABRT]);
        check_in_child(Overflow, expected).await;
    })
    .await;
}

#[procession::test]
async fn memory_access_violation_is_a_crashed_error() {
    alone(
        "faults::memory_access_violation_is_a_crashed_error",
        async {
            let expected = expect(ErrorKind::Crashed).by_signal(&[libc::SIGSEGV]);
            check_in_child(WriteThroughNull, expected).await;
        },
    )
    .await;
}
