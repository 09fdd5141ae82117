//! What can be called: functions and closures, sync and async, and their arguments.

use std::fmt::Debug;
use std::rc::Rc;
use std::time::Duration;

use crate::deadline::within;
use crate::leftovers::alone;
use crate::values::{Point, Shape};
use crate::{call, plain};

#[procession::test]
async fn spawn_runs_in_another_process() {
    alone("functions::spawn_runs_in_another_process", async {
        let handle = procession::spawn(std::process::id, ());
        let there = within(handle).await.unwrap();
        assert_ne!(there, std::process::id());
    })
    .await;
}

#[procession::test]
async fn task_may_be_a_plain_function() {
    assert_eq!(call(plain::add, (1, 2)).await, 3);
    assert_eq!(call(plain::negated, i64::MAX).await, -i64::MAX);
    call(plain::nothing_comes_back, 1).await;
    assert_eq!(call(|| plain::none().to_owned(), ()).await, plain::none());
}

#[procession::test]
async fn task_may_be_a_function_of_the_standard_library() {
    assert_eq!(call(u32::pow, (2, 10)).await, 1024);
    assert_eq!(call(<f64 as std::ops::Mul>::mul, (2.0, 1.5)).await, 3.0);
    assert_eq!(call(Some::<u8>, 7).await, Some(7));
    assert_eq!(call(Shape::Circle, 1.5).await, Shape::Circle(1.5));
    assert_eq!(call(String::into_bytes, "ab".to_owned()).await, b"ab");
    assert_eq!(call(Vec::<u8>::new, ()).await, []);
    assert_eq!(
        call(<Point as Default>::default, ()).await,
        Point::default()
    );
    assert_eq!(
        call(std::process::id, ()).await.cmp(&0),
        std::cmp::Ordering::Greater
    );
}

fn described<T: Debug>(value: T) -> String {
    format!("{value:?}")
}

fn folded<T, const N: usize>(values: Vec<T>) -> T
where
    T: std::iter::Sum<T> + Copy,
{
    values.iter().copied().take(N).sum()
}

#[procession::test]
async fn task_may_be_a_generic_function() {
    assert_eq!(call(described::<u32>, 5).await, "5");
    assert_eq!(
        call(described::<Option<bool>>, Some(true)).await,
        "Some(true)"
    );
    assert_eq!(
        call(described, 'x').await,
        "'x'",
        "inferred from its argument"
    );
    assert_eq!(call(folded::<u64, 2>, vec![1, 2, 4]).await, 3);
    assert_eq!(call(folded::<f64, 3>, vec![1.0, 2.0, 4.0]).await, 7.0);
}

/// A function of a program that is generic over the task.
async fn twice<F, M, A>(f: F, a: A) -> [F::Output; 2]
where
    F: procession::Task<M, A>,
    A: Clone,
{
    let first = procession::spawn(f, a.clone());
    let second = procession::spawn(f, a);
    let (first, second) = within(futures::future::join(first, second)).await;
    [first.unwrap(), second.unwrap()]
}

async fn later(n: u32) -> u32 {
    tokio::task::yield_now().await;
    n
}

#[procession::test]
async fn task_trait_is_usable_in_generic_wrappers() {
    assert_eq!(twice(plain::add, (1, 2)).await, [3, 3]);
    assert_eq!(twice(later, 4).await, [4, 4]);
    assert_eq!(twice(|s: String| s.len(), "four".to_owned()).await, [4, 4]);
}

#[procession::test]
async fn task_may_be_a_closure() {
    const FACTOR: u32 = 3;
    assert_eq!(call(|x: u32| x * FACTOR, 4).await, 12);
    assert_eq!(
        call(|a: u32, b: String| format!("{a}{b}"), (1, "x".to_owned())).await,
        "1x"
    );
    assert_eq!(call(|| 7_u8, ()).await, 7);
    // Two closures of one function have one type name, but are two functions.
    let pair = (|n: u32| n + 1, |n: u32| n + 2);
    assert_eq!((call(pair.0, 0).await, call(pair.1, 0).await), (1, 2));
}

#[procession::test]
async fn task_may_be_async() {
    async fn slept(time: Duration) -> Duration {
        tokio::time::sleep(time).await;
        time
    }
    let moment = Duration::from_millis(1);
    assert_eq!(call(slept, moment).await, moment);
    assert_eq!(call(|x: u32| async move { x + 1 }, 1).await, 2);
    assert_eq!(call(async |x: u32| x + 2, 1).await, 3);
    assert_eq!(
        call(async || "nothing given".to_owned(), ()).await,
        "nothing given"
    );
    assert_eq!(
        call(|a: u8, b: u8| std::future::ready(a + b), (1, 2)).await,
        3
    );
}

#[procession::test]
async fn task_that_is_async_has_a_complete_runtime() {
    async fn served() -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"over TCP").await.unwrap();
        });
        let mut said = String::new();
        let mut stream = tokio::net::TcpStream::connect(place).await.unwrap();
        stream.read_to_string(&mut said).await.unwrap();
        server.await.unwrap();
        tokio::task::spawn_blocking(move || said).await.unwrap()
    }
    assert_eq!(call(served, ()).await, "over TCP");
}

#[procession::test]
async fn task_future_need_not_be_send() {
    async fn counted(n: usize) -> usize {
        let shared = Rc::new(());
        let others: Vec<_> = (0..n).map(|_| Rc::clone(&shared)).collect();
        tokio::task::yield_now().await;
        assert_eq!(others.len(), n);
        Rc::strong_count(&shared)
    }
    assert_eq!(call(counted, 3).await, 4);
}

#[procession::test]
async fn task_that_is_not_async_may_build_a_runtime() {
    fn by_hand() -> u32 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { tokio::spawn(later(5)).await.unwrap() })
    }
    assert_eq!(call(by_hand, ()).await, 5);
}

#[procession::test]
async fn task_takes_from_none_to_eight_arguments() {
    assert_eq!(call(|| 0_u32, ()).await, 0);
    assert_eq!(call(|a: u32| a, 1).await, 1);
    assert_eq!(call(|a: u32, b: u32| a + b, (1, 2)).await, 3);
    assert_eq!(call(|a: u32, b: u32, c: u32| a + b + c, (1, 2, 4)).await, 7);
    assert_eq!(
        call(|a: u32, b: u32, c: u32, d: u32| a + b + c + d, (1, 2, 4, 8)).await,
        15
    );
    assert_eq!(
        call(
            |a: u32, b: u32, c: u32, d: u32, e: u32| a + b + c + d + e,
            (1, 2, 4, 8, 16)
        )
        .await,
        31
    );
    assert_eq!(
        call(
            |a: u32, b: u32, c: u32, d: u32, e: u32, f: u32| a + b + c + d + e + f,
            (1, 2, 4, 8, 16, 32)
        )
        .await,
        63
    );
    assert_eq!(
        call(
            |a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32| a + b + c + d + e + f + g,
            (1, 2, 4, 8, 16, 32, 64)
        )
        .await,
        127
    );
}

#[allow(clippy::too_many_arguments, reason = "eight is what is tested")]
fn eight(a: u8, b: i16, c: u32, d: i64, e: f64, f: char, g: String, h: Vec<bool>) -> String {
    format!("{a} {b} {c} {d} {e} {f} {g} {h:?}")
}

#[allow(clippy::too_many_arguments, reason = "eight is what is tested")]
async fn eight_later(
    a: u8,
    b: i16,
    c: u32,
    d: i64,
    e: f64,
    f: char,
    g: String,
    h: Vec<bool>,
) -> String {
    tokio::task::yield_now().await;
    eight(a, b, c, d, e, f, g, h)
}

#[procession::test]
async fn arguments_of_eight_types_keep_their_order() {
    let args = (1, -2, 3, -4, 0.5, '6', "7".to_owned(), vec![true]);
    let expected = "1 -2 3 -4 0.5 6 7 [true]";
    assert_eq!(call(eight, args.clone()).await, expected);
    assert_eq!(call(eight_later, args).await, expected);
}

#[procession::test]
async fn argument_may_be_a_tuple() {
    assert_eq!(call(|pair: (u32, u32)| pair.0 - pair.1, (3, 1)).await, 2);
    assert_eq!(call(|one: (u32,)| one.0, (3,)).await, 3);
    assert_eq!(call(|nothing: ()| nothing, ()).await, ());
    assert_eq!(
        call(|a: (u8, u8), b: u8| a.0 + a.1 + b, ((1, 2), 4)).await,
        7
    );
    async fn swapped(pair: (u8, String)) -> (String, u8) {
        (pair.1, pair.0)
    }
    assert_eq!(
        call(swapped, (1, "x".to_owned())).await,
        ("x".to_owned(), 1)
    );
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawn_works_on_a_multi_thread_runtime() {
    alone("functions::spawn_works_on_a_multi_thread_runtime", async {
        let calls = (0..16_u64).map(|n| tokio::spawn(call(plain::add, (n, 1))));
        let sums: Vec<_> = within(futures::future::join_all(calls)).await;
        let sums: Vec<_> = sums.into_iter().map(Result::unwrap).collect();
        assert_eq!(sums, (1..=16).collect::<Vec<_>>());
    })
    .await;
}

#[procession::test]
async fn name_defaults_to_the_path_of_the_function() {
    let name = |f: &str| f.to_owned();
    assert_eq!(
        procession::spawn(plain::add, (1, 2)).name(),
        name(std::any::type_name_of_val(&plain::add))
    );
    assert_eq!(
        procession::spawn(described::<u8>, 1).name(),
        name(std::any::type_name_of_val(&described::<u8>))
    );
}
