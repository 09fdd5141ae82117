//! The options of processes.

use std::time::Duration;

use procession::{Process, ProcessBuilder, StartMethod};

use crate::deadline::within;

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

fn spin_for(time: Duration) -> bool {
    let began = std::time::Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
    true
}

/// A process that `prepare` has made runs, by both start methods.
async fn works(prepare: impl Fn(ProcessBuilder) -> ProcessBuilder) {
    for method in METHODS {
        let builder = prepare(Process::builder().start_method(method));
        let handle = builder.spawn(spin_for, Duration::from_millis(1));
        assert!(within(handle).await.unwrap());
    }
}

/// A process that `prepare` has made is an answer, by both start methods: a value or an error.
async fn answers(prepare: impl Fn(ProcessBuilder) -> ProcessBuilder) {
    for method in METHODS {
        let builder = prepare(Process::builder().start_method(method));
        let _ = within(builder.spawn(spin_for, Duration::from_millis(1))).await;
    }
}

#[procession::test]
async fn longest_time_limit_is_none() {
    for method in METHODS {
        for limit in [
            Duration::MAX,
            Duration::from_secs(1 << 60),
            Duration::from_secs(1 << 40),
        ] {
            let builder = Process::builder()
                .start_method(method)
                .cpu_time_limit(limit);
            let handle = builder.spawn(spin_for, Duration::from_millis(1300));
            assert!(within(handle).await.unwrap(), "{limit:?}");
        }
    }
}

#[procession::test]
async fn largest_limits_are_those_of_the_application() {
    works(|builder| {
        let builder = builder.memory_limit(u64::MAX).descriptor_limit(usize::MAX);
        builder.file_size_limit(u64::MAX).core_size_limit(u64::MAX)
    })
    .await;
    works(|builder| builder.nice(i32::MAX)).await;
    works(|builder| builder.nice(i32::MIN)).await;
    works(|builder| builder.cpu_time_limit(Duration::ZERO).core_size_limit(0)).await;
}

#[procession::test]
async fn limits_of_zero_are_an_answer() {
    answers(|builder| builder.memory_limit(0)).await;
    answers(|builder| builder.descriptor_limit(0)).await;
    answers(|builder| builder.file_size_limit(0)).await;
    answers(|builder| builder.cpu_affinity([])).await;
    answers(|builder| builder.cpu_affinity([usize::MAX])).await;
}

#[procession::test]
async fn long_names_are_shortened_and_zero_bytes_are_shown() {
    for name in [
        "x".repeat(100_000),
        "é".repeat(50_000),
        "a\0b".to_owned(),
        String::new(),
    ] {
        works(|builder| builder.name(name.clone())).await;
    }
}

#[procession::test]
async fn long_environment_arrives() {
    for method in METHODS {
        let builder = Process::builder()
            .start_method(method)
            .env("LONG", "x".repeat(100_000));
        let handle = builder.spawn(|| std::env::var("LONG").map_or(0, |it| it.len()), ());
        assert_eq!(within(handle).await.unwrap(), 100_000);
    }
    answers(|builder| builder.env("LONG", "x".repeat(10_000_000))).await;
}

/// No variable and no path has a zero byte.
#[procession::test]
async fn zero_bytes_are_an_error() {
    let prepares: [fn(ProcessBuilder) -> ProcessBuilder; 4] = [
        |builder| builder.env("A", "b\0c"),
        |builder| builder.env("A\0B", "c"),
        |builder| builder.env("A=B", "c"),
        |builder| builder.current_dir("/tmp\0"),
    ];
    for prepare in prepares {
        for method in METHODS {
            let builder = prepare(Process::builder().start_method(method));
            let outcome = within(builder.spawn(|| (), ())).await;
            let Err(error) = outcome else {
                panic!("no error")
            };
            assert!(error.is_spawn(), "{error}");
        }
    }
}
