//! Name, environment and directory of a process.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;

use procession::{ErrorKind, Process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::tasks::parked;

#[procession::test]
async fn name_is_what_the_builder_was_given() {
    alone("builder::name_is_what_the_builder_was_given", async {
        let own_name = || procession::current().name().map(str::to_owned);
        let named = Process::builder().name("first").name("indexer");
        let handle = named.spawn(own_name, ());
        assert_eq!(handle.name(), "indexer");
        assert_eq!(within(handle).await.unwrap().as_deref(), Some("indexer"));
    })
    .await;
}

#[procession::test]
async fn env_is_what_the_builder_was_given() {
    let look = |keys: Vec<String>| -> Vec<Option<String>> {
        keys.iter().map(|key| std::env::var(key).ok()).collect()
    };
    let keys = ["PATH", "A", "B", "C", "CARGO_MANIFEST_DIR", "E"].map(str::to_owned);
    let handle = Process::builder()
        .env("A", "1")
        .env("A", "2")
        .env_remove("B")
        .env("B", "again")
        .env("C", "3")
        .env_remove("C")
        .env_remove("CARGO_MANIFEST_DIR")
        .env("E", "with = and spaces, Grüße")
        .spawn(look, keys.to_vec());
    let seen = within(handle).await.unwrap();
    let path = std::env::var("PATH").ok();
    let expected = [path.as_deref(), Some("2"), Some("again"), None, None];
    assert_eq!(
        seen[..5].iter().map(Option::as_deref).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(seen[5].as_deref(), Some("with = and spaces, Grüße"));
}

#[procession::test]
async fn env_that_is_impossible_fails_the_start() {
    alone("builder::env_that_is_impossible_fails_the_start", async {
        let impossible = [
            ("NUL", "a\0b".to_owned()),
            ("NUL\0", "a".to_owned()),
            ("LONG", "x".repeat(4 << 20)),
        ];
        for (key, value) in impossible {
            let outcome = within(Process::builder().env(key, value).spawn(|| 1, ())).await;
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Spawn, "{key}: {error}");
        }
    })
    .await;
}

/// Every text is a valid name. A name too long for the message to the child is an error that says so.
#[procession::test]
async fn name_may_be_any_text() {
    let own_name = || procession::current().name().map(str::to_owned);
    for name in ["", "a\nb\0c", "\u{1f980}", &"n".repeat(10_000)] {
        let handle = Process::builder().name(name).spawn(own_name, ());
        assert_eq!(within(handle).await.unwrap().as_deref(), Some(name));
    }
    // A longer name is shortened: it must leave room for the rest of a message.
    let name = "n".repeat(1 << 20);
    let handle = Process::builder().name(name.as_str()).spawn(own_name, ());
    let known = within(handle).await.unwrap().unwrap();
    assert!(name.starts_with(&known) && known.len() >= 10_000);
}

/// The variable that a child is started with is not passed on to the programs that the child starts.
#[procession::test]
async fn env_has_no_internal_variables() {
    let environment = || std::env::vars_os().map(|(key, _)| key).collect::<Vec<_>>();
    let there: HashSet<_> = within(procession::spawn(environment, ()))
        .await
        .unwrap()
        .into_iter()
        .collect();
    let here: HashSet<_> = std::env::vars_os().map(|(key, _)| key).collect();
    assert_eq!(there, here);
    let of_a_program = || {
        let env = std::process::Command::new("env").output().unwrap();
        String::from_utf8_lossy(&env.stdout).contains("PROCESSION_CHILD")
    };
    assert!(!within(procession::spawn(of_a_program, ())).await.unwrap());
}

#[procession::test]
async fn current_dir_is_what_the_builder_was_given() {
    let look = || std::env::current_dir().unwrap();
    let default = within(procession::spawn(look, ())).await.unwrap();
    assert_eq!(default, std::env::current_dir().unwrap());
    for directory in ["/", env!("CARGO_TARGET_TMPDIR"), "tests"] {
        let handle = Process::builder().current_dir(directory).spawn(look, ());
        let expected = Path::new(directory).canonicalize().unwrap();
        assert_eq!(within(handle).await.unwrap(), expected);
    }
}

#[procession::test]
async fn current_dir_that_does_not_exist_fails_the_start() {
    alone(
        "builder::current_dir_that_does_not_exist_fails_the_start",
        async {
            for directory in ["/does/not/exist", "/proc/version", ""] {
                let mut handle = Process::builder()
                    .current_dir(directory)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn(parked, ());
                let mut stdin = handle.take_stdin().unwrap();
                let mut stdout = handle.take_stdout().unwrap();
                let error = within(&mut handle).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Spawn, "{directory:?}: {error}");
                assert!(!error.started() && error.pid().is_none(), "{error:?}");
                assert_eq!(handle.pid(), None);
                assert!(handle.is_finished());
                within(handle.exited()).await.unwrap_err();
                // Reads and writes of the streams end.
                let mut nothing = Vec::new();
                assert_eq!(within(stdout.read_to_end(&mut nothing)).await.unwrap(), 0);
                within(stdin.write_all(b"x")).await.unwrap_err();
            }
        },
    )
    .await;
}
