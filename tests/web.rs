//! A web server whose handlers await a pool, asked over TCP: the routes of `examples/web`, under load.

#![allow(clippy::print_stdout, reason = "measured figures are shown")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use procession::{Pool, WorkerState};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use client::{Answer, ask, get};
use site::Site;

#[path = "../examples/web/client.rs"]
mod client;
#[path = "../examples/web/server.rs"]
mod server;
#[path = "../examples/web/site.rs"]
mod site;
#[path = "../examples/web/work.rs"]
mod work;

/// How long to wait for what takes milliseconds, but seconds on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longer than any test runs.
const EVER: Duration = Duration::from_secs(600);

/// One test at a time, so that the load of one is not measured by another.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A server on a port of its own.
struct Server {
    address: SocketAddr,
    pool: Pool,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    descriptors: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    async fn start(workers: usize, limit: Duration) -> Self {
        let alone = ALONE.lock().await;
        let descriptors = pool_descriptors();
        let pool = Pool::with_workers(workers).expect("a pool");
        let site = Site {
            pool: pool.clone(),
            pictures: pictures().into(),
            limit,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        Self {
            address,
            pool,
            stop,
            serving: tokio::spawn(server::serve(listener, site, stopped)),
            descriptors,
            _alone: alone,
        }
    }

    async fn get(&self, target: &str) -> Answer {
        let answer = timeout(PATIENCE, get(self.address, target)).await;
        answer.expect("an answer in time").expect("an answer")
    }

    /// Asks in the background.
    fn getting(&self, target: &str) -> JoinHandle<Answer> {
        let (address, target) = (self.address, target.to_owned());
        tokio::spawn(async move { get(address, &target).await.expect("an answer") })
    }

    /// The workers that run something, once there are so many.
    async fn busy(&self, count: usize) -> Vec<u32> {
        let mut busy = Vec::new();
        let what = format!("{count} busy workers");
        until(&what, || {
            let workers = self.pool.workers().into_iter();
            busy = workers
                .filter(|worker| worker.state() == WorkerState::Busy)
                .map(|worker| worker.pid())
                .collect();
            busy.len() == count
        })
        .await;
        busy
    }

    /// Stops the server and sees to it that nothing is left.
    async fn stop(self) {
        let workers = self.pool.workers();
        drop(self.stop);
        let ended = timeout(PATIENCE, self.serving).await;
        ended.expect("an end").expect("no panic").expect("no error");
        drop(self.pool);
        for worker in workers {
            gone(worker.pid()).await;
        }
        until("no descriptor left", || {
            pool_descriptors() <= self.descriptors
        })
        .await;
    }
}

#[procession::test]
async fn many_requests_have_their_own_thumbnails() {
    const NAMES: [&str; 2] = ["chelsea.png", "camera.png"];
    let server = Server::start(2, EVER).await;
    let requests: Vec<_> = (0..24)
        .map(|n| (NAMES[n % 2], [16, 32][n / 2 % 2]))
        .map(|(name, size)| {
            let asking = server.getting(&format!("/thumb?name={name}&size={size}"));
            (name, size, asking)
        })
        .collect();
    let mut expected = std::collections::HashMap::new();
    for (name, size, asking) in requests {
        let answer = timeout(PATIENCE, asking).await;
        let answer = answer.expect("in time").expect("an answer");
        let thumbnail = expected.entry((name, size)).or_insert_with(|| {
            work::thumbnail(pictures().join(name).into(), size).expect("a picture")
        });
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.body == *thumbnail, "not {name} at {size}");
        let image = image::load_from_memory(&answer.body).expect("a PNG");
        assert_eq!(image.width().max(image.height()), size);
    }
    assert_eq!(server.pool.metrics().completed(), 24);
    server.stop().await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_whose_time_is_over_is_stopped() {
    let server = Server::start(1, Duration::from_millis(300)).await;
    let asking = server.getting("/slow?ms=600000");
    let worker = server.busy(1).await[0];
    let answer = timeout(PATIENCE, asking).await.expect("in time");
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("work::burn"), "{}", answer.text());
    gone(worker).await;
    server.busy(0).await;
    assert_eq!(server.get("/slow?ms=1").await.status, 200);
    assert_eq!(server.pool.metrics().timed_out(), 1);
    server.stop().await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_stops_its_work_and_no_other() {
    let server = Server::start(2, EVER).await;
    let connection = ask(server.address, "/slow?ms=600000").await;
    let connection = connection.expect("a connection");
    let worker = server.busy(1).await[0];
    // One that was only given to the worker would be taken back, and the worker would live on.
    let (before, tenth) = (cpu_ticks(worker), 10);
    until("the work uses a CPU", || cpu_ticks(worker) > before + tenth).await;
    let other = server.getting("/slow?ms=300");
    server.busy(2).await;
    drop(connection);
    gone(worker).await;
    let other = timeout(PATIENCE, other).await.expect("in time");
    assert_eq!(other.expect("an answer").status, 200);
    server.busy(0).await;
    let metrics = server.pool.metrics();
    assert_eq!((metrics.cancelled(), metrics.completed()), (1, 1));
    server.stop().await;
}

#[procession::test]
async fn a_request_does_not_wait_for_ever_for_a_worker() {
    let server = Server::start(1, Duration::from_millis(300)).await;
    assert_eq!(server.get("/slow?ms=1").await.status, 200);
    let requests: Vec<_> = (0..6).map(|_| server.getting("/slow?ms=600000")).collect();
    let mut statuses = Vec::new();
    for asking in requests {
        let answer = timeout(PATIENCE, asking).await.expect("in time");
        statuses.push(answer.expect("an answer").status);
    }
    let count = |status| statuses.iter().filter(|&&it| it == status).count();
    let (stopped, never_begun) = (count(504), count(503));
    assert!(stopped > 0 && never_begun > 0, "{statuses:?}");
    assert_eq!(stopped + never_begun, 6, "{statuses:?}");
    server.busy(0).await;
    server.stop().await;
}

#[procession::test]
async fn a_crash_is_an_answer_and_costs_nobody_else() {
    let server = Server::start(2, EVER).await;
    let other = server.getting("/slow?ms=300");
    server.busy(1).await;
    let answer = server.get("/crash").await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("SIGABRT"), "{}", answer.text());
    let other = timeout(PATIENCE, other).await.expect("in time");
    assert_eq!(other.expect("an answer").status, 200);
    let health = server.get("/health").await.text();
    assert!(health.contains("\"crashed\":1"), "{health}");
    server.stop().await;
}

#[procession::test]
async fn what_is_no_picture_of_this_site_is_refused() {
    let server = Server::start(1, EVER).await;
    for (target, status) in [
        ("/thumb", 400),
        ("/thumb?name=", 400),
        ("/thumb?name=..", 400),
        ("/thumb?name=.", 400),
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
}

#[procession::test]
async fn a_stopping_server_finishes_what_it_has_begun() {
    let server = Server::start(1, EVER).await;
    let (address, asking) = (server.address, server.getting("/slow?ms=300"));
    server.busy(1).await;
    server.stop().await;
    assert_eq!(asking.await.expect("an answer").status, 200);
    assert!(get(address, "/health").await.is_err(), "nobody listens");
}

#[procession::test]
async fn a_full_pool_leaves_the_runtime_alone() {
    let server = Server::start(2, EVER).await;
    let idle = lateness().await;
    let address = server.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    let answer = get(address, "/slow?ms=20").await;
                    assert_eq!(answer.expect("an answer").status, 200);
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
        sleep(millisecond).await;
        late.push(start.elapsed().saturating_sub(millisecond));
    }
    late.sort();
    (late[late.len() / 2], late[late.len() * 99 / 100])
}

/// Waits until `reached`.
async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

/// Waits until the process is gone and reaped, so that it uses no CPU and is no zombie.
async fn gone(pid: u32) {
    let process = format!("/proc/{pid}");
    until(&format!("the end of process {pid}"), || {
        !Path::new(&process).exists()
    })
    .await;
}

/// The CPU time of a process in hundredths of a second: `utime` in proc_pid_stat(5). 0 if it is gone.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the last parenthesis may hold anything; utime is the 14th field, the 12th after it.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let utime = after_name.split_whitespace().nth(11);
    utime.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// How many descriptors this process has of the kinds that only pools have here.
fn pool_descriptors() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").expect("procfs");
    entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| {
            let target = target.to_string_lossy();
            target.contains("memfd:") || target.contains("pidfd")
        })
        .count()
}

fn pictures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures"))
}
