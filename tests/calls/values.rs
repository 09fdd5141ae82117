//! Which types arguments and results may be.

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
