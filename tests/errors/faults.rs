//! Each fault at each place, on each side.

use procession::ErrorKind;

use crate::bomb::{Bomb, Fault, Place, WEIGHTS, carried, carried_later};
use crate::deadline::within;
use crate::expected::{Expected, expect};
use crate::failure;
use crate::leftovers::alone;
use Fault::{Abort, Error, Exit, Kill, Overflow, Panic, PanicWithoutText, WriteThroughNull};

pub(crate) async fn check(place: Place, fault: Fault, expected: Expected) {
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
    alone("faults::encoding_the_arguments_fails", async {
        for fault in [Error, Panic, PanicWithoutText] {
            let expected = expect(ErrorKind::Encode).nowhere();
            check(Place::EncodeArguments, fault, expected).await;
        }
    })
    .await;
}

#[procession::test]
async fn decoding_the_arguments_fails() {
    alone("faults::decoding_the_arguments_fails", async {
        for fault in [Error, Panic, PanicWithoutText] {
            let expected = expect(ErrorKind::Decode).never_started();
            check(Place::DecodeArguments, fault, expected).await;
        }
    })
    .await;
}

#[procession::test]
async fn the_function_panics() {
    alone("faults::the_function_panics", async {
        for fault in [Panic, PanicWithoutText] {
            check(Place::Run, fault, expect(ErrorKind::Panicked)).await;
        }
    })
    .await;
}

#[procession::test]
async fn encoding_the_result_fails() {
    alone("faults::encoding_the_result_fails", async {
        for fault in [Error, Panic, PanicWithoutText] {
            check(Place::EncodeResult, fault, expect(ErrorKind::Encode)).await;
        }
    })
    .await;
}

#[procession::test]
async fn decoding_the_result_fails() {
    alone("faults::decoding_the_result_fails", async {
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
    alone("faults::the_process_aborts", async {
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGABRT]);
        check_everywhere_there(Abort, expected).await;
    })
    .await;
}

#[procession::test]
async fn the_process_exits() {
    alone("faults::the_process_exits", async {
        for code in [0, 3, 70, 101] {
            let expected = expect(ErrorKind::Exited).with_code(code);
            check_everywhere_there(Exit(code), expected).await;
        }
    })
    .await;
}

#[procession::test]
async fn the_process_is_killed() {
    alone("faults::the_process_is_killed", async {
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGKILL]);
        check_everywhere_there(Kill, expected).await;
    })
    .await;
}

#[procession::test]
async fn the_stack_overflows() {
    alone("faults::the_stack_overflows", async {
        // With `std`'s handler, which a test's children do not have, it is an abort.
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGSEGV, libc::SIGABRT]);
        check_everywhere_there(Overflow, expected).await;
    })
    .await;
}

#[procession::test]
async fn memory_is_touched_that_is_not_there() {
    alone("faults::memory_is_touched_that_is_not_there", async {
        let expected = expect(ErrorKind::Crashed).by(&[libc::SIGSEGV]);
        check_everywhere_there(WriteThroughNull, expected).await;
    })
    .await;
}
