//! What can be called in another process, and what can be given to it and come back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "what a task is given is its own"
)]

mod deadline;
mod leftovers;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deadline::within;
use futures::StreamExt as _;
use leftovers::alone;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What the function gives in a process of its own.
async fn call<F, M, A>(f: F, args: A) -> F::Output
where
    F: procession::Task<M, A>,
{
    within(procession::spawn(f, args)).await.unwrap()
}

/// Where and with what something was called.
fn here() -> u32 {
    std::process::id()
}

#[procession::test]
async fn a_call_runs_in_another_process() {
    alone("a_call_runs_in_another_process", async {
        let handle = procession::spawn(here, ());
        let there = within(handle).await.unwrap();
        assert_ne!(there, here());
    })
    .await;
}

mod plain {
    pub(crate) fn none() -> &'static str {
        "no arguments"
    }

    pub(crate) fn add(a: u64, b: u64) -> u64 {
        a + b
    }

    pub(crate) const fn negated(n: i64) -> i64 {
        -n
    }

    pub(crate) fn nothing_comes_back(_: u8) {}
}

#[procession::test]
async fn plain_functions() {
    assert_eq!(call(plain::add, (1, 2)).await, 3);
    assert_eq!(call(plain::negated, i64::MAX).await, -i64::MAX);
    call(plain::nothing_comes_back, 1).await;
    assert_eq!(call(|| plain::none().to_owned(), ()).await, plain::none());
}

#[procession::test]
async fn functions_that_nobody_wrote_for_this() {
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
async fn generic_functions() {
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

/// A program's own function over anything that can be called.
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
async fn wrappers_that_are_generic_over_the_task() {
    assert_eq!(twice(plain::add, (1, 2)).await, [3, 3]);
    assert_eq!(twice(later, 4).await, [4, 4]);
    assert_eq!(twice(|s: String| s.len(), "four".to_owned()).await, [4, 4]);
}

#[procession::test]
async fn closures() {
    const FACTOR: u32 = 3;
    assert_eq!(call(|x: u32| x * FACTOR, 4).await, 12);
    assert_eq!(
        call(|a: u32, b: String| format!("{a}{b}"), (1, "x".to_owned())).await,
        "1x"
    );
    assert_eq!(call(|| 7_u8, ()).await, 7);
    // Two closures of one place have one type name. They are two functions all the same.
    let pair = (|n: u32| n + 1, |n: u32| n + 2);
    assert_eq!((call(pair.0, 0).await, call(pair.1, 0).await), (1, 2));
}

#[procession::test]
async fn async_functions_and_closures() {
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
async fn an_async_function_has_a_whole_runtime() {
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
async fn a_future_that_cannot_leave_its_thread() {
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
async fn a_plain_function_may_build_a_runtime() {
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
async fn from_no_argument_to_eight() {
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
async fn eight_arguments_of_eight_types_keep_their_order() {
    let args = (1, -2, 3, -4, 0.5, '6', "7".to_owned(), vec![true]);
    let expected = "1 -2 3 -4 0.5 6 7 [true]";
    assert_eq!(call(eight, args.clone()).await, expected);
    assert_eq!(call(eight_later, args).await, expected);
}

#[procession::test]
async fn a_tuple_can_be_one_argument() {
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

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Meters(u32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Line(Point, Point),
    Polygon {
        corners: Vec<Point>,
        name: Option<String>,
    },
    Both(Box<Shape>, Box<Shape>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Generic<T> {
    inner: T,
    #[serde(skip)]
    cache: u32,
    #[serde(rename = "type", default)]
    kind: String,
}

fn same<T>(value: T) -> T {
    value
}

/// The value goes there and comes back as it was.
async fn round<T>(value: T)
where
    T: Serialize + DeserializeOwned + Debug + Clone + PartialEq + Send + 'static,
{
    assert_eq!(call(same::<T>, value.clone()).await, value);
}

#[procession::test]
async fn numbers_to_their_limits() {
    round((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX)).await;
    round((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN)).await;
    round((usize::MAX, isize::MIN)).await;
    round((f32::MIN_POSITIVE, f64::MAX, f64::NEG_INFINITY, -0.0_f64)).await;
    let nan = call(same::<f64>, f64::NAN).await;
    assert_eq!(nan.to_bits(), f64::NAN.to_bits());
}

#[procession::test]
async fn texts() {
    round(String::new()).await;
    round('\u{10ffff}').await;
    round("Grüße, 世界 \0 \u{1f980}".to_owned()).await;
    round("é".repeat(100_000)).await;
}

#[procession::test]
async fn structs_and_enums() {
    round(Unit).await;
    round(Meters(3)).await;
    let corner = Point { x: 1.0, y: -1.0 };
    round(Shape::Nothing).await;
    let polygon = Shape::Polygon {
        corners: vec![corner.clone(); 3],
        name: Some("triangle".to_owned()),
    };
    let line = Shape::Line(corner.clone(), corner);
    round(Shape::Both(Box::new(polygon), Box::new(line))).await;
    let generic = Generic {
        inner: Generic {
            inner: Meters(1),
            cache: 0,
            kind: "a".to_owned(),
        },
        cache: 0,
        kind: String::new(),
    };
    round(generic).await;
}

#[procession::test]
async fn options_and_results() {
    round(None::<u32>).await;
    round(Some(None::<Option<u32>>)).await;
    round(Ok::<u32, String>(1)).await;
    round(Err::<(), String>("no".to_owned())).await;
    round(Some(Ok::<Vec<Option<u8>>, Unit>(vec![None, Some(1)]))).await;
}

/// An error of the task's own is its result, not a failure of the call.
#[procession::test]
async fn an_error_is_a_value() {
    fn parsed(text: String) -> Result<u32, String> {
        text.parse().map_err(|error| format!("{text:?}: {error}"))
    }
    assert_eq!(call(parsed, "12".to_owned()).await, Ok(12));
    let why = call(parsed, "x".to_owned()).await.unwrap_err();
    assert!(why.contains("invalid digit"), "{why}");
}

#[procession::test]
async fn collections() {
    round(Vec::<String>::new()).await;
    round([1_u8, 2, 3]).await;
    round(VecDeque::from([1, 2])).await;
    round(HashSet::from([Meters(1), Meters(2)])).await;
    round(BTreeMap::from([(1, "a".to_owned()), (2, String::new())])).await;
    round(HashMap::from([
        ("k".to_owned(), vec![Some(1.5)]),
        (String::new(), vec![]),
    ]))
    .await;
    round(Duration::new(u64::MAX, 999_999_999)).await;
    round(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).await;
    round(std::path::PathBuf::from("/a/b")).await;
    round("127.0.0.1:80".parse::<std::net::SocketAddr>().unwrap()).await;
    round(std::num::NonZeroU8::MAX).await;
}

#[procession::test]
async fn what_is_nested_deeply() {
    type Deep = BTreeMap<String, Vec<Option<Result<HashMap<u8, Shape>, (String, Box<Point>)>>>>;
    let deep: Deep = BTreeMap::from([
        ("empty".to_owned(), vec![]),
        (
            "mixed".to_owned(),
            vec![
                None,
                Some(Ok(HashMap::from([
                    (1, Shape::Nothing),
                    (2, Shape::Circle(0.5)),
                ]))),
                Some(Err(("why".to_owned(), Box::default()))),
            ],
        ),
    ]);
    round(deep).await;
    let mut chain = Shape::Nothing;
    for _ in 0..200 {
        chain = Shape::Both(Box::new(chain), Box::new(Shape::Nothing));
    }
    round(chain).await;
}

#[procession::test]
async fn values_without_bytes() {
    round(()).await;
    round(((), [(); 3], Unit)).await;
    round(vec![(); 1000]).await;
    round([0_u8; 0]).await;
}

/// Around the sizes at which a value stops being inline, and at both ends.
const SIZES: [usize; 13] = [
    0,
    1,
    4095,
    (64 << 10) - 64, // a frame's head and prefix in front of it make it whole
    (64 << 10) - 1,
    64 << 10,
    (64 << 10) + 1,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    1 << 20,
    (1 << 20) + 1,
    64 << 20,
];

/// Bytes in which a shifted, repeated or missing piece shows: no two windows of a block are alike,
/// and blocks do not begin where pages, frames or parcels do.
fn pattern(len: usize) -> Vec<u8> {
    const BLOCK: usize = (64 << 10) + 8;
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK.min(len.next_multiple_of(8)) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        block.extend(word.to_ne_bytes());
    }
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let piece = block.len().min(len - bytes.len());
        bytes.extend_from_slice(&block[..piece]);
    }
    bytes
}

fn is_pattern(bytes: &[u8]) -> bool {
    bytes == pattern(bytes.len())
}

#[procession::test]
async fn byte_buffers_of_every_size() {
    alone("byte_buffers_of_every_size", async {
        for size in SIZES {
            let arrived = |bytes: ByteBuf| (bytes.len(), is_pattern(&bytes));
            let sent = ByteBuf::from(pattern(size));
            assert_eq!(call(arrived, sent).await, (size, true));
            let made = call(|size: usize| ByteBuf::from(pattern(size)), size).await;
            assert_eq!((made.len(), is_pattern(&made)), (size, true));
        }
    })
    .await;
}

#[procession::test]
async fn shared_bytes_of_every_size() {
    alone("shared_bytes_of_every_size", async {
        for size in SIZES {
            let sent = Bytes::from(pattern(size));
            let back = call(same::<Bytes>, sent.clone()).await;
            assert!(back == sent, "{size} bytes came back different");
        }
    })
    .await;
}

#[procession::test]
async fn a_field_of_bytes_beside_others() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Picture {
        name: String,
        #[serde(with = "serde_bytes")]
        pixels: Vec<u8>,
        size: (u32, u32),
    }
    for len in [0, 1, 65_000, 65_536, 3 << 20] {
        let picture = Picture {
            name: "p".repeat(len % 300),
            pixels: pattern(len),
            size: (len as u32, 1),
        };
        let back = call(same::<Picture>, picture.clone()).await;
        assert!(back == picture, "{len} bytes came back different");
    }
}

/// Written one by one, so every boundary is met by a piece of one byte.
#[procession::test]
async fn bytes_one_by_one() {
    for len in [65_000, 65_535, 65_536, 65_537, 300_000] {
        let bytes = pattern(len);
        assert!(call(same::<Vec<u8>>, bytes.clone()).await == bytes, "{len}");
    }
}

/// Every length around the place where a value stops fitting: no length may fall between.
#[procession::test]
async fn no_length_falls_between_inline_and_parcel() {
    let around = (64 << 10) - 72..=(64 << 10) + 8;
    let calls = around.map(|len| async move {
        let sent = ByteBuf::from(pattern(len));
        let back = procession::spawn(same::<ByteBuf>, sent.clone())
            .await
            .unwrap();
        assert!(back == sent, "{len} bytes came back different");
    });
    // A few at a time: they are many processes.
    let calls = futures::stream::iter(calls).buffer_unordered(4);
    let done = within(calls.count()).await;
    assert_eq!(done, 81);
}

#[procession::test]
async fn large_both_ways_at_once() {
    alone("large_both_ways_at_once", async {
        let calls = (1..=4).map(|n| {
            let sent = Bytes::from(pattern(n << 20));
            async move {
                let back = procession::spawn(same::<Bytes>, sent.clone())
                    .await
                    .unwrap();
                assert!(back == sent);
            }
        });
        within(futures::future::join_all(calls)).await;
    })
    .await;
}

/// Both are made by `#[procession::test]`, one on each kind of runtime.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_runtime_of_many_threads() {
    alone("on_a_runtime_of_many_threads", async {
        let calls = (0..16_u64).map(|n| tokio::spawn(call(plain::add, (n, 1))));
        let sums: Vec<_> = within(futures::future::join_all(calls)).await;
        let sums: Vec<_> = sums.into_iter().map(Result::unwrap).collect();
        assert_eq!(sums, (1..=16).collect::<Vec<_>>());
    })
    .await;
}

#[procession::test]
async fn a_task_is_named_by_its_path() {
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
