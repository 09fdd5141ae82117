//! The errors of tasks name the failure of the initializer or the preload.

use futures::future::join_all;
use procession::{JoinError, Pool, PoolBuilder, StartMethod};

use crate::deadline::within;

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

/// Often enough for starts that overlap in different orders.
const ROUNDS: usize = 2;

fn refuses() -> Result<(), String> {
    Err("no database here".to_owned())
}

fn panics() {
    panic!("no licence")
}

fn exits() {
    std::process::exit(7)
}

fn aborts() {
    std::process::abort()
}

/// The errors of tasks in pools that `prepare` makes fail.
async fn errors_of(prepare: fn(PoolBuilder) -> PoolBuilder) -> Vec<JoinError> {
    let mut errors = Vec::new();
    for method in METHODS.into_iter().cycle().take(2 * ROUNDS) {
        let builder = Pool::builder().workers(2).start_method(method);
        let pool = prepare(builder).build().unwrap();
        let tasks = (0..20_u32).map(|n| pool.spawn(|n: u32| n, n));
        let outcomes = within(join_all(tasks.collect::<Vec<_>>())).await;
        errors.extend(outcomes.into_iter().map(Result::unwrap_err));
    }
    errors
}

/// Asserts that every message contains all of `texts`.
fn assert_all_say(errors: &[JoinError], texts: &[&str]) {
    for error in errors {
        assert!(error.is_spawn() && !error.started(), "{error:?}");
        let line = error.to_string();
        let missing = texts.iter().find(|text| !line.contains(**text));
        assert_eq!(missing, None, "{line}");
    }
}

#[procession::test]
async fn error_of_an_initializer_is_in_every_task() {
    let errors = errors_of(|builder| builder.initializer(refuses, ())).await;
    assert_all_say(&errors, &["the initializer", "no database here"]);
}

#[procession::test]
async fn panic_of_an_initializer_is_in_every_task() {
    let errors = errors_of(|builder| builder.initializer(panics, ())).await;
    assert_all_say(
        &errors,
        &["the initializer", "no licence", "initializer_errors.rs:"],
    );
    assert!(errors.iter().all(|error| error.panic().is_some()));
}

#[procession::test]
async fn exit_status_of_an_initializer_is_in_every_task() {
    let errors = errors_of(|builder| builder.initializer(exits, ())).await;
    assert_all_say(&errors, &["the initializer", "status 7"]);
    assert!(errors.iter().all(|error| error.exit_code() == Some(7)));
}

#[procession::test]
async fn signal_of_an_initializer_is_in_every_task() {
    let errors = errors_of(|builder| builder.initializer(aborts, ())).await;
    assert_all_say(&errors, &["the initializer", "SIGABRT"]);
    assert!(
        errors
            .iter()
            .all(|error| error.signal() == Some(libc::SIGABRT))
    );
}

/// The request of the initializer is written when the process has started, after the preload.
#[procession::test]
async fn initializer_behind_a_preload_is_named() {
    let prepare = |builder: PoolBuilder| builder.preload(|| (), ()).initializer(exits, ());
    assert_all_say(&errors_of(prepare).await, &["the initializer", "status 7"]);
    let prepare = |builder: PoolBuilder| builder.preload(exits, ());
    assert_all_say(&errors_of(prepare).await, &["preload"]);
}
