//! A web server whose handlers await a pool, asked over TCP: the routes of the example, under load.

#![allow(clippy::print_stdout, reason = "what was measured is shown")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../../tests/deadline/mod.rs"]
mod deadline;
#[path = "../../../tests/leftovers/mod.rs"]
mod leftovers;

#[path = "../src/client.rs"]
mod client;
#[path = "../src/server.rs"]
mod server;
#[path = "../src/site.rs"]
mod site;
#[path = "../src/work.rs"]
mod work;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use client::{Answer, ask, get};
use deadline::{until, within};
use leftovers::alone;
use procession::{Pool, WorkerInfo, WorkerState};
use site::Site;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

/// Longer than any test takes: what has this as its limit is not stopped by it.
const LONG: Duration = Duration::from_secs(600);

/// A request for work that takes as long.
const SLOW_FOR_LONG: &str = "/slow?ms=600000";

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(300);

/// Tests with pictures or clocks run one at a time: each of them fills the machine.
static FULL_LOAD: Mutex<()> = Mutex::const_new(());

/// A server on a port of its own.
struct Server {
    address: SocketAddr,
    pool: Pool,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(workers: usize, limit: Duration) -> Self {
        let pool = Pool::with_workers(workers).unwrap();
        let site = Site {
            pool: pool.clone(),
            pictures: pictures().into(),
            limit,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        Self {
            address,
            pool,
            stop,
            serving: tokio::spawn(server::serve(listener, site, stopped)),
        }
    }

    async fn get(&self, target: &str) -> Answer {
        within(get(self.address, target)).await.unwrap()
    }

    /// Asks in the background.
    fn getting(&self, target: &str) -> JoinHandle<Answer> {
        let (address, target) = (self.address, target.to_owned());
        tokio::spawn(async move { get(address, &target).await.unwrap() })
    }

    /// The workers that have something to do, once there are so many.
    async fn busy(&self, count: usize) -> Vec<u32> {
        let mut busy = Vec::new();
        until(|| {
            let mut workers = self.pool.workers();
            workers.retain(|worker| worker.state() == WorkerState::Busy);
            busy = workers.iter().filter_map(WorkerInfo::pid).collect();
            busy.len() == count
        })
        .await;
        busy
    }

    /// Waits until so many tasks are counted, which is after their workers are gone.
    async fn counted(&self, cancelled: u64, completed: u64) {
        until(|| {
            let metrics = self.pool.metrics();
            (metrics.cancelled(), metrics.completed()) == (cancelled, completed)
        })
        .await;
    }

    async fn stop(self) {
        drop(self.stop);
        within(self.serving).await.unwrap().unwrap();
        assert!(self.pool.workers().is_empty(), "{:?}", self.pool.workers());
    }
}

#[procession::test]
async fn many_requests_have_their_own_thumbnails() {
    let _full_load = FULL_LOAD.lock().await;
    alone("many_requests_have_their_own_thumbnails", async {
        let server = Server::start(2, LONG).await;
        let requests: Vec<_> = (0..24)
            .map(|n| (["chelsea.png", "camera.png"][n % 2], [16, 32][n / 2 % 2]))
            .map(|(name, size)| {
                let target = format!("/thumb?name={name}&size={size}");
                (name, size, server.getting(&target))
            })
            .collect();
        let mut expected = HashMap::new();
        for (name, size, asking) in requests {
            let answer = within(asking).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let thumbnail = expected.entry((name, size)).or_insert_with(|| {
                let picture = pictures().join(name);
                work::thumbnail(picture.into(), size).unwrap()
            });
            assert!(answer.body == *thumbnail, "not {name} at {size}");
            let image = image::load_from_memory(&answer.body).unwrap();
            assert_eq!(image.width().max(image.height()), size);
        }
        assert_eq!(server.pool.metrics().completed(), 24);
        server.stop().await;
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_whose_time_is_over_is_stopped() {
    alone("work_whose_time_is_over_is_stopped", async {
        let server = Server::start(1, SHORT).await;
        let asking = server.getting(SLOW_FOR_LONG);
        let worker = server.busy(1).await[0];
        let answer = within(asking).await.unwrap();
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(answer.text().contains("work::burn"), "{}", answer.text());
        gone(worker).await;
        server.busy(0).await;
        assert_eq!(server.get("/slow?ms=1").await.status, 200);
        assert_eq!(server.pool.metrics().timed_out(), 1);
        server.stop().await;
    })
    .await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_stops_its_work_and_no_other() {
    alone(
        "a_client_that_goes_away_stops_its_work_and_no_other",
        async {
            let server = Server::start(2, LONG).await;
            let connection = ask(server.address, SLOW_FOR_LONG).await.unwrap();
            let worker = server.busy(1).await[0];
            // What was given to a worker and not begun would be taken back, and the worker would live on.
            let (before, tenth) = (cpu_time(worker), Duration::from_millis(100));
            until(|| cpu_time(worker) > before + tenth).await;
            let other = server.getting("/slow?ms=300");
            server.busy(2).await;
            drop(connection);
            gone(worker).await;
            assert_eq!(within(other).await.unwrap().status, 200);
            server.busy(0).await;
            server.counted(1, 1).await;
            server.stop().await;
        },
    )
    .await;
}

#[procession::test]
async fn a_request_does_not_wait_for_ever_for_a_worker() {
    alone("a_request_does_not_wait_for_ever_for_a_worker", async {
        let server = Server::start(1, SHORT).await;
        // The first one may have to wait for the worker to start.
        until(|| server.pool.workers()[0].state() == WorkerState::Idle).await;
        let requests: Vec<_> = (0..6).map(|_| server.getting(SLOW_FOR_LONG)).collect();
        let mut statuses = Vec::new();
        for asking in requests {
            statuses.push(within(asking).await.unwrap().status);
        }
        let count = |status| statuses.iter().filter(|&&it| it == status).count();
        let (stopped, never_begun) = (count(504), count(503));
        assert!(stopped > 0 && never_begun > 0, "{statuses:?}");
        assert_eq!(stopped + never_begun, 6, "{statuses:?}");
        server.busy(0).await;
        server.stop().await;
    })
    .await;
}

/// Events come while the work runs, and the work stops when the client has gone.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_is_stopped_when_its_client_leaves() {
    alone(
        "a_stream_of_events_is_stopped_when_its_client_leaves",
        async {
            let server = Server::start(2, LONG).await;
            let answer = server.get("/primes?below=12").await;
            let events =
                "data: 2\n\ndata: 3\n\ndata: 5\n\ndata: 7\n\ndata: 11\n\nevent: end\ndata: 5";
            assert_eq!((answer.status, answer.text()), (200, events.to_owned()));
            let endless = format!("/primes?below={}", u64::MAX);
            let mut connection = ask(server.address, &endless).await.unwrap();
            let mut heard = String::new();
            while !heard.contains("data: 1009\n") {
                let mut bytes = [0; 4096];
                let read = within(connection.read(&mut bytes)).await.unwrap();
                assert!(read > 0, "it ended after {heard}");
                heard.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
            let worker = server.busy(1).await[0];
            drop(connection);
            gone(worker).await;
            server.busy(0).await;
            server.counted(1, 1).await;
            server.stop().await;
        },
    )
    .await;
}

/// A client that hears slowly is waited for; the end of its work's time is an event.
#[procession::test]
async fn a_stream_of_events_has_a_limit_too() {
    alone("a_stream_of_events_has_a_limit_too", async {
        let server = Server::start(1, SHORT).await;
        let endless = format!("/primes?below={}", u64::MAX);
        let answer = server.get(&endless).await;
        assert_eq!(answer.status, 200);
        let text = answer.text();
        let (_, last) = text.rsplit_once("event: ").unwrap();
        assert!(
            last.starts_with("error\ndata: ") && last.contains("work::primes"),
            "{last}"
        );
        server.busy(0).await;
        server.stop().await;
    })
    .await;
}

#[procession::test]
async fn a_crash_is_an_answer_and_costs_nobody_else() {
    alone("a_crash_is_an_answer_and_costs_nobody_else", async {
        let server = Server::start(2, LONG).await;
        let other = server.getting("/slow?ms=300");
        server.busy(1).await;
        let answer = server.get("/crash").await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains("SIGABRT"), "{}", answer.text());
        assert_eq!(within(other).await.unwrap().status, 200);
        let health = server.get("/health").await.text();
        assert!(health.contains("\"crashed\":1"), "{health}");
        server.stop().await;
    })
    .await;
}

#[procession::test]
async fn what_is_no_picture_of_this_site_is_refused() {
    alone("what_is_no_picture_of_this_site_is_refused", async {
        let server = Server::start(1, LONG).await;
        for (target, status) in [
            ("/thumb", 400),
            ("/thumb?name=", 400),
            ("/thumb?name=.", 400),
            ("/thumb?name=..", 400),
            ("/thumb?name=../pictures/chelsea.png", 400),
            ("/thumb?name=..%2F..%2FCargo.toml", 400),
            ("/thumb?name=%2Fetc%2Fpasswd", 400),
            ("/thumb?name=chelsea.png%2F", 400),
            ("/thumb?name=chelsea.png%00.txt", 400),
            ("/thumb?name=chelsea.png&size=0", 400),
            ("/thumb?name=chelsea.png&size=100000", 400),
            ("/thumb?name=chelsea.png&size=large", 400),
            ("/thumb?name=nobody.png", 404),
            ("/thumb?name=README.md", 415),
            ("/nothing", 404),
        ] {
            let answer = server.get(target).await;
            assert_eq!(answer.status, status, "{target}: {}", answer.text());
        }
        server.stop().await;
    })
    .await;
}

#[procession::test]
async fn a_stopping_server_finishes_what_it_has_begun() {
    alone("a_stopping_server_finishes_what_it_has_begun", async {
        let server = Server::start(1, LONG).await;
        let (address, asking) = (server.address, server.getting("/slow?ms=300"));
        server.busy(1).await;
        server.stop().await;
        assert_eq!(within(asking).await.unwrap().status, 200);
        let refused = get(address, "/health").await;
        assert!(refused.is_err(), "somebody listens: {refused:?}");
    })
    .await;
}

/// Not `alone`, so that its output is visible.
#[procession::test]
async fn a_full_pool_leaves_the_runtime_alone() {
    let _full_load = FULL_LOAD.lock().await;
    let server = Server::start(2, LONG).await;
    let idle = lateness().await;
    let address = server.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    let answer = get(address, "/slow?ms=20").await.unwrap();
                    assert_eq!(answer.status, 200);
                }
            })
        })
        .collect();
    server.busy(2).await;
    let before = server.pool.metrics().completed();
    let full = lateness().await;
    assert!(server.pool.metrics().completed() > before, "no load");
    for client in &clients {
        assert!(!client.is_finished(), "a client had no answer");
        client.abort();
    }
    println!("lateness of a 1 ms timer, p50 and p99: idle {idle:?}, full {full:?}");
    assert!(full.0 < Duration::from_millis(20), "{full:?}");
    server.stop().await;
}

/// The median and the 99th percentile of how much longer than 1 ms a sleep of 1 ms takes.
async fn lateness() -> (Duration, Duration) {
    let millisecond = Duration::from_millis(1);
    let mut late = Vec::new();
    for _ in 0..500 {
        let start = Instant::now();
        tokio::time::sleep(millisecond).await;
        late.push(start.elapsed().saturating_sub(millisecond));
    }
    late.sort();
    (late[late.len() / 2], late[late.len() * 99 / 100])
}

/// Waits until a process is gone and reaped: it uses no CPU any more and is no zombie.
async fn gone(pid: u32) {
    let process = format!("/proc/{pid}");
    until(|| !Path::new(&process).exists()).await;
}

/// The CPU time of a process outside the kernel: `utime` in proc_pid_stat(5). None if it is gone.
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the last parenthesis may hold anything. utime is the 14th field, the 12th after it.
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(11).unwrap_or("0");
    // Of 10 ms each: USER_HZ is 100 on all that Linux runs on.
    Duration::from_millis(10) * ticks.parse().unwrap()
}

fn pictures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../pictures"))
}
