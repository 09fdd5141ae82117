//! Types of arguments and results.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{call, same};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Meters(u32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
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

/// Asserts that the value is the same after a call that returns it.
async fn assert_carried<T>(value: T)
where
    T: Serialize + DeserializeOwned + Debug + Clone + PartialEq + Send + 'static,
{
    assert_eq!(call(same::<T>, value.clone()).await, value);
}

#[procession::test]
async fn numbers_are_carried_up_to_their_limits() {
    assert_carried((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX)).await;
    assert_carried((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN)).await;
    assert_carried((usize::MAX, isize::MIN)).await;
    assert_carried((f32::MIN_POSITIVE, f64::MAX, f64::NEG_INFINITY, -0.0_f64)).await;
    let nan = call(same::<f64>, f64::NAN).await;
    assert_eq!(nan.to_bits(), f64::NAN.to_bits());
}

#[procession::test]
async fn strings_are_carried() {
    assert_carried(String::new()).await;
    assert_carried('\u{10ffff}').await;
    assert_carried("Grüße, 世界 \0 \u{1f980}".to_owned()).await;
    assert_carried("é".repeat(100_000)).await;
}

#[procession::test]
async fn structs_and_enums_are_carried() {
    assert_carried(Unit).await;
    assert_carried(Meters(3)).await;
    let corner = Point { x: 1.0, y: -1.0 };
    assert_carried(Shape::Nothing).await;
    let polygon = Shape::Polygon {
        corners: vec![corner.clone(); 3],
        name: Some("triangle".to_owned()),
    };
    let line = Shape::Line(corner.clone(), corner);
    assert_carried(Shape::Both(Box::new(polygon), Box::new(line))).await;
    let generic = Generic {
        inner: Generic {
            inner: Meters(1),
            cache: 0,
            kind: "a".to_owned(),
        },
        cache: 0,
        kind: String::new(),
    };
    assert_carried(generic).await;
}

#[procession::test]
async fn options_and_results_are_carried() {
    assert_carried(None::<u32>).await;
    assert_carried(Some(None::<Option<u32>>)).await;
    assert_carried(Ok::<u32, String>(1)).await;
    assert_carried(Err::<(), String>("no".to_owned())).await;
    assert_carried(Some(Ok::<Vec<Option<u8>>, Unit>(vec![None, Some(1)]))).await;
}

/// An `Err` that the task returns is a value, not a failure of the call.
#[procession::test]
async fn result_may_be_an_err_of_the_task() {
    fn parsed(text: String) -> Result<u32, String> {
        text.parse().map_err(|error| format!("{text:?}: {error}"))
    }
    assert_eq!(call(parsed, "12".to_owned()).await, Ok(12));
    let why = call(parsed, "x".to_owned()).await.unwrap_err();
    assert!(why.contains("invalid digit"), "{why}");
}

#[procession::test]
async fn collections_are_carried() {
    assert_carried(Vec::<String>::new()).await;
    assert_carried([1_u8, 2, 3]).await;
    assert_carried(VecDeque::from([1, 2])).await;
    assert_carried(HashSet::from([Meters(1), Meters(2)])).await;
    assert_carried(BTreeMap::from([(1, "a".to_owned()), (2, String::new())])).await;
    assert_carried(HashMap::from([
        ("k".to_owned(), vec![Some(1.5)]),
        (String::new(), vec![]),
    ]))
    .await;
    assert_carried(Duration::new(u64::MAX, 999_999_999)).await;
    assert_carried(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).await;
    assert_carried(std::path::PathBuf::from("/a/b")).await;
    assert_carried("127.0.0.1:80".parse::<std::net::SocketAddr>().unwrap()).await;
    assert_carried(std::num::NonZeroU8::MAX).await;
}

#[procession::test]
async fn values_nested_deeply_are_carried() {
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
    assert_carried(deep).await;
    let mut chain = Shape::Nothing;
    for _ in 0..200 {
        chain = Shape::Both(Box::new(chain), Box::new(Shape::Nothing));
    }
    assert_carried(chain).await;
}

#[procession::test]
async fn values_without_bytes_are_carried() {
    assert_carried(()).await;
    assert_carried(((), [(); 3], Unit)).await;
    assert_carried(vec![(); 1000]).await;
    assert_carried([0_u8; 0]).await;
}
