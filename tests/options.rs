//! What a process can be told about itself before it starts; the same whichever way it is started.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use deadline::{until, within};
use leftovers::{Found, alone, everybody};
use procession::{ErrorKind, Process, ProcessBuilder, StartMethod};
use rustix::process::{Resource, getrlimit};
use tokio::io::AsyncReadExt as _;

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

const MIB: u64 = 1 << 20;

fn by(method: StartMethod) -> ProcessBuilder {
    Process::builder().start_method(method)
}

fn parked() {
    loop {
        std::thread::park();
    }
}

/// A file of this test alone.
fn scratch(name: &str, method: StartMethod) -> PathBuf {
    let name = format!("{name}-{method:?}-{}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn command_line(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .trim_end_matches('\0')
        .to_owned()
}

fn found(pid: u32) -> Option<Found> {
    everybody().into_iter().find(|found| found.pid == pid)
}

// ---- memory ------------------------------------------------------------------------------------

fn take(mebibytes: usize) -> usize {
    let taken = vec![1_u8; mebibytes << 20];
    std::hint::black_box(&taken).len()
}

#[procession::test]
async fn a_process_has_the_memory_it_may_have_and_no_more() {
    alone("a_process_has_the_memory_it_may_have_and_no_more", async {
        for method in METHODS {
            let limited = || by(method).memory_limit(64 * MIB);
            assert_eq!(within(limited().spawn(take, 40)).await.unwrap(), 40 << 20);
            for much in [80, 100_000] {
                let error = within(limited().spawn(take, much)).await.unwrap_err();
                assert_eq!(
                    error.kind(),
                    ErrorKind::MemoryExceeded,
                    "{method:?}: {error}"
                );
                assert!(error.started() && error.is_memory_exceeded());
            }
            // One by one too.
            let piles = || -> usize {
                let mut pile = Vec::new();
                loop {
                    pile.push(vec![1_u8; 1000]);
                    std::hint::black_box(&pile);
                }
            };
            let error = within(limited().spawn(piles, ())).await.unwrap_err();
            assert!(error.is_memory_exceeded(), "{method:?}: {error}");
            assert_eq!(error.signal(), Some(libc::SIGABRT));
        }
    })
    .await;
}

/// Whoever is careful is told, and goes on.
#[procession::test]
async fn an_allocation_that_may_fail_is_an_error_there() {
    for method in METHODS {
        let careful = || Vec::<u8>::new().try_reserve(1 << 30).is_err();
        let handle = by(method).memory_limit(64 * MIB).spawn(careful, ());
        assert!(within(handle).await.unwrap());
    }
}

/// Only what ends for want of memory has exceeded it.
#[procession::test]
async fn an_abort_within_the_limit_is_a_crash() {
    for method in METHODS {
        let aborts = || -> () { std::process::abort() };
        let handle = by(method).memory_limit(64 * MIB).spawn(aborts, ());
        assert!(within(handle).await.unwrap_err().is_crashed());
        let panics = || -> () { panic!("plainly") };
        let handle = by(method).memory_limit(64 * MIB).spawn(panics, ());
        assert!(within(handle).await.unwrap_err().is_panic());
    }
}

/// As much as a limited process takes by itself must fit beside what it was given.
#[procession::test]
async fn a_small_limit_is_enough_for_small_things() {
    for method in METHODS {
        async fn sleeps() -> u32 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        }
        let handle = by(method).memory_limit(8 * MIB).spawn(sleeps, ());
        assert_eq!(within(handle).await.unwrap(), 7);
    }
}

#[procession::test]
async fn a_task_that_takes_too_much_fails_alone() {
    alone("a_task_that_takes_too_much_fails_alone", async {
        for method in METHODS {
            let pool = procession::Pool::builder()
                .workers(2)
                .start_method(method)
                .memory_limit(64 * MIB)
                .build()
                .unwrap();
            let much = |n: usize| take(if n == 50 { 1000 } else { n % 8 });
            let map = pool.map(much, 0..100);
            let outcomes: Vec<_> = within(futures::StreamExt::collect(map)).await;
            for (n, outcome) in outcomes.into_iter().enumerate() {
                match outcome {
                    Ok(taken) => assert_eq!(taken, (n % 8) << 20),
                    Err(error) => assert!(n == 50 && error.is_memory_exceeded(), "{n}: {error}"),
                }
            }
            within(pool.shutdown()).await;
        }
    })
    .await;
}

// ---- other limits ------------------------------------------------------------------------------

#[procession::test]
async fn limits_are_those_that_were_given() {
    for method in METHODS {
        let look = || {
            let of = |resource| {
                let limit = getrlimit(resource);
                (limit.current, limit.maximum)
            };
            (
                of(Resource::Nofile),
                of(Resource::Core),
                of(Resource::Cpu),
                of(Resource::Fsize),
            )
        };
        let limited = by(method)
            .descriptor_limit(10)
            .descriptor_limit(100)
            .core_size_limit(0)
            .cpu_time_limit(Duration::from_millis(1500))
            .file_size_limit(4096);
        let (nofile, core, cpu, fsize) = within(limited.spawn(look, ())).await.unwrap();
        assert_eq!(nofile, (Some(100), Some(100)));
        assert_eq!(core, (Some(0), Some(0)));
        assert_eq!(cpu, (Some(2), Some(2)));
        assert_eq!(fsize, (Some(4096), Some(4096)));
        let own = getrlimit(Resource::Nofile).current;
        let free = || getrlimit(Resource::Nofile).current;
        assert_eq!(within(by(method).spawn(free, ())).await.unwrap(), own);
    }
}

#[procession::test]
async fn a_process_that_goes_beyond_a_limit_is_ended() {
    alone("a_process_that_goes_beyond_a_limit_is_ended", async {
        for method in METHODS {
            let spins = || -> () {
                loop {
                    std::hint::spin_loop();
                }
            };
            let handle = by(method)
                .core_size_limit(0)
                .cpu_time_limit(Duration::from_secs(1))
                .spawn(spins, ());
            let error = within(handle).await.unwrap_err();
            let signal = error.signal().unwrap();
            assert!(
                signal == libc::SIGXCPU || signal == libc::SIGKILL,
                "{error}"
            );
            let path = scratch("large", method);
            let writes = |path: PathBuf| {
                let mut file = std::fs::File::create(path).unwrap();
                file.write_all(&[0; 100_000]).unwrap();
            };
            let handle = by(method)
                .core_size_limit(0)
                .file_size_limit(10_000)
                .spawn(writes, path.clone());
            let error = within(handle).await.unwrap_err();
            assert_eq!(error.signal(), Some(libc::SIGXFSZ), "{error}");
            std::fs::remove_file(path).unwrap();
        }
    })
    .await;
}

// ---- processors and priority -------------------------------------------------------------------

fn processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap();
    let numbers = 0..rustix::thread::CpuSet::MAX_CPU;
    numbers.filter(|number| set.is_set(*number)).collect()
}

#[procession::test]
async fn a_process_runs_on_the_processors_it_is_given() {
    let all = processors();
    for method in METHODS {
        for processor in &all {
            let handle = by(method).cpu_affinity([*processor]).spawn(processors, ());
            assert_eq!(within(handle).await.unwrap(), [*processor]);
        }
        assert_eq!(within(by(method).spawn(processors, ())).await.unwrap(), all);
        for nowhere in [vec![1000], vec![5000], vec![]] {
            let handle = by(method)
                .stderr(Stdio::null())
                .cpu_affinity(nowhere)
                .spawn(processors, ());
            let error = within(handle).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
        }
    }
}

/// What the application is at that moment, although the process that forks is older.
#[procession::test]
async fn a_process_has_the_applications_processors_and_priority() {
    alone(
        "a_process_has_the_applications_processors_and_priority",
        async {
            let own = processors();
            let last = *own.last().unwrap();
            let mut set = rustix::thread::CpuSet::new();
            set.set(last);
            let main = rustix::process::getpid();
            rustix::thread::sched_setaffinity(Some(main), &set).unwrap();
            let nice = || rustix::process::getpriority_process(None).unwrap();
            let before = rustix::process::getpriority_process(Some(main)).unwrap();
            let lower = (before + 2).min(19);
            rustix::process::setpriority_process(Some(main), lower).unwrap();
            for method in METHODS {
                let place = within(by(method).spawn(processors, ())).await.unwrap();
                assert_eq!(place, [last]);
                assert_eq!(within(by(method).spawn(nice, ())).await.unwrap(), lower);
                let further = by(method).nice(3).spawn(nice, ());
                assert_eq!(within(further).await.unwrap(), (lower + 3).min(19));
            }
        },
    )
    .await;
}

// ---- names -------------------------------------------------------------------------------------

#[procession::test]
async fn its_name_is_in_lists_of_processes() {
    alone("its_name_is_in_lists_of_processes", async {
        for method in METHODS {
            let handle = by(method).name("an indexer of things").spawn(parked, ());
            let line = || handle.pid().map(command_line);
            until(|| line().as_deref() == Some("procession: an indexer of things")).await;
            let found = found(handle.pid().unwrap()).unwrap();
            assert_eq!(found.command, "an indexer of t");
            handle.abort();
            within(handle).await.unwrap_err();
            let pool = procession::Pool::builder()
                .name("thumbs")
                .workers(1)
                .start_method(method)
                .build()
                .unwrap();
            let pid = within(pool.run(std::process::id, ())).await.unwrap();
            let line = command_line(pid);
            assert!(line.starts_with("procession: thumbs/"), "{line}");
            within(pool.shutdown()).await;
        }
    })
    .await;
}

/// What others see changes nothing of what it sees itself.
#[procession::test]
async fn its_arguments_and_environment_are_the_applications() {
    for method in METHODS {
        let look = || {
            (
                std::env::args().collect::<Vec<_>>(),
                std::env::var("PATH").ok(),
                std::env::var("OF_ITS_OWN").ok(),
            )
        };
        let handle = by(method).env("OF_ITS_OWN", "1").spawn(look, ());
        let (arguments, path, own) = within(handle).await.unwrap();
        assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
        assert_eq!(path, std::env::var("PATH").ok());
        assert_eq!(own.as_deref(), Some("1"));
    }
}

// ---- streams -----------------------------------------------------------------------------------

#[procession::test]
async fn its_streams_are_pipes_if_it_is_said() {
    alone("its_streams_are_pipes_if_it_is_said", async {
        for method in METHODS {
            let copies = || {
                let text = std::io::read_to_string(std::io::stdin()).unwrap();
                std::io::stdout().write_all(text.as_bytes()).unwrap();
                std::io::stderr()
                    .write_all(text.to_uppercase().as_bytes())
                    .unwrap();
            };
            let mut handle = by(method)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .current_dir("/")
                .nice(1)
                .memory_limit(64 * MIB)
                .spawn(copies, ());
            let mut stdin = handle.take_stdin().unwrap();
            within(tokio::io::AsyncWriteExt::write_all(&mut stdin, b"words"))
                .await
                .unwrap();
            drop(stdin);
            let (mut out, mut err) = (String::new(), String::new());
            let mut stdout = handle.take_stdout().unwrap();
            within(stdout.read_to_string(&mut out)).await.unwrap();
            let mut stderr = handle.take_stderr().unwrap();
            within(stderr.read_to_string(&mut err)).await.unwrap();
            assert_eq!((&out[..], &err[..]), ("words", "WORDS"));
            within(handle).await.unwrap();
        }
    })
    .await;
}

// ---- detached ----------------------------------------------------------------------------------

/// Says that it has begun, waits until it is told to go on, and leaves a word.
fn waits_for_a_word(path: PathBuf) {
    std::fs::write(path.with_extension("begun"), "").unwrap();
    let word = path.with_extension("go");
    let end = std::time::Instant::now() + deadline::LIMIT;
    while !word.exists() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::fs::remove_file(path.with_extension("begun")).unwrap();
    std::fs::write(path, std::process::id().to_string()).unwrap();
}

/// What a runtime attended to goes on without it, and is reaped when it ends.
#[procession::test]
async fn a_detached_process_outlives_the_runtime() {
    alone("a_detached_process_outlives_the_runtime", async {
        for method in METHODS {
            let path = scratch("runtime", method);
            let (given, begun) = (path.clone(), path.with_extension("begun"));
            let start = move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let handle = by(method).detach().spawn(waits_for_a_word, given);
                    until(|| handle.pid().is_some()).await;
                    until(|| begun.exists()).await;
                    handle.pid().unwrap()
                })
            };
            let pid = std::thread::spawn(start);
            let pid = within(tokio::task::spawn_blocking(|| pid.join().unwrap()));
            let pid = pid.await.unwrap();
            assert!(found(pid).is_some_and(|found| found.state != 'Z'));
            std::fs::write(path.with_extension("go"), "").unwrap();
            until(|| found(pid).is_none()).await;
            assert_eq!(std::fs::read_to_string(&path).unwrap(), pid.to_string());
            std::fs::remove_file(path.with_extension("go")).unwrap();
            std::fs::remove_file(path).unwrap();
        }
    })
    .await;
}

/// An application that is killed leaves what was meant to be left, in a session of its own.
#[procession::test]
async fn a_detached_process_outlives_the_application() {
    for method in METHODS {
        let path = scratch("application", method);
        let application = move |path: PathBuf, forks: bool| async move {
            let method = METHODS[usize::from(!forks)];
            let detached = by(method).detach().spawn(waits_for_a_word, path.clone());
            let other = by(method).spawn(parked, ());
            until(|| detached.pid().is_some() && other.pid().is_some()).await;
            let (detached, other) = (detached.pid().unwrap(), other.pid().unwrap());
            until(|| path.with_extension("begun").exists()).await;
            let pids = format!("{detached} {other}");
            std::fs::write(path.with_extension("pids"), pids).unwrap();
            std::future::pending::<()>().await;
        };
        let forks = method == StartMethod::ForkServer;
        let handle = procession::spawn(application, (path.clone(), forks));
        let pids = path.with_extension("pids");
        let read = || std::fs::read_to_string(&pids).unwrap_or_default();
        until(|| read().split_whitespace().count() == 2).await;
        let text = read();
        let mut numbers = text.split_whitespace().map(|it| it.parse::<u32>().unwrap());
        let (detached, other) = (numbers.next().unwrap(), numbers.next().unwrap());
        let session = rustix::process::getsid(rustix::process::Pid::from_raw(detached as i32));
        assert_eq!(session.unwrap().as_raw_nonzero().get(), detached as i32);
        handle.signal(libc::SIGKILL);
        assert!(within(handle).await.unwrap_err().is_crashed());
        until(|| found(other).is_none_or(|found| found.state == 'Z')).await;
        assert!(found(detached).is_some_and(|found| found.state != 'Z'));
        std::fs::write(path.with_extension("go"), "").unwrap();
        until(|| std::fs::read_to_string(&path).is_ok_and(|text| !text.is_empty())).await;
        until(|| found(detached).is_none_or(|found| found.state == 'Z')).await;
        for leftover in [path.with_extension("go"), pids, path] {
            std::fs::remove_file(leftover).unwrap();
        }
    }
}

#[procession::test]
async fn a_detached_process_is_otherwise_as_any() {
    alone("a_detached_process_is_otherwise_as_any", async {
        for method in METHODS {
            let handle = by(method).detach().spawn(|a: u32, b: u32| a + b, (1, 2));
            assert_eq!(within(handle).await.unwrap(), 3);
            let handle = by(method).detach().spawn(parked, ());
            until(|| handle.pid().is_some()).await;
            let exited = handle.exited();
            handle.abort();
            assert!(within(handle).await.unwrap_err().is_cancelled());
            let status = within(exited).await.unwrap();
            assert_eq!(status.signal(), Some(libc::SIGKILL));
            let dropped = by(method).detach().kill_on_drop(true).spawn(parked, ());
            until(|| dropped.pid().is_some()).await;
            let pid = dropped.pid().unwrap();
            drop(dropped);
            until(|| found(pid).is_none()).await;
        }
    })
    .await;
}
