//! Values that cannot be encoded or decoded.

use std::sync::atomic::{AtomicI64, Ordering};

use procession::JoinError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::bomb::Fault::Panic;
use crate::bomb::{Bomb, Place, carried};
use crate::deadline::within;
use crate::leftovers::alone;
use crate::{failure, quiet};

/// Says it has another length whenever it is asked.
#[derive(Debug)]
struct Fickle(AtomicI64, i64);

impl Serialize for Fickle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let len = self.0.fetch_add(self.1, Ordering::Relaxed);
        ByteBuf::from(vec![1; len as usize]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fickle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _: ByteBuf = Deserialize::deserialize(deserializer)?;
        Ok(Self(AtomicI64::new(0), 0))
    }
}

#[procession::test]
async fn a_value_that_changes_while_it_is_encoded() {
    alone(
        "encoding::a_value_that_changes_while_it_is_encoded",
        async {
            for step in [1, -1] {
                let made = |step: i64| Fickle(AtomicI64::new(100 << 10), step);
                let fickle = made(step);
                let outcome = within(quiet().spawn(|_: Fickle| (), fickle)).await;
                assert!(outcome.is_err_and(|error| error.is_encode()));
                let outcome = within(quiet().spawn(made, step)).await;
                assert!(outcome.is_err_and(|error| error.is_encode()));
            }
        },
    )
    .await;
}

mod not_self_describing {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Inner {
        pub(crate) n: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Flattened {
        #[serde(flatten)]
        pub(crate) inner: Inner,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    pub(crate) enum Untagged {
        Number(u32),
        Text(String),
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    pub(crate) enum Tagged {
        Inner { n: u32 },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Skipping {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(crate) maybe: Option<u32>,
    }
}

/// Attributes of serde that need a format which describes itself are refused, both ways, with a message
/// that says it.
#[procession::test]
async fn what_the_encoding_cannot_carry_is_refused() {
    use not_self_describing::{Flattened, Inner, Skipping, Tagged, Untagged};

    #[track_caller]
    fn refused(error: &JoinError) {
        assert!(error.is_encode() || error.is_decode(), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("self-describing") && !said.contains('\n'),
            "{said}"
        );
    }
    let flattened = || Flattened {
        inner: Inner { n: 1 },
    };
    refused(&failure(|_: Flattened| (), flattened()).await.0);
    refused(&failure(|_: Untagged| (), Untagged::Number(1)).await.0);
    refused(
        &failure(|_: Untagged| (), Untagged::Text(String::new()))
            .await
            .0,
    );
    refused(&failure(|_: Tagged| (), Tagged::Inner { n: 1 }).await.0);
    refused(&failure(|_: Skipping| (), Skipping { maybe: None }).await.0);

    refused(
        &failure(|n: u32| Flattened { inner: Inner { n } }, 1)
            .await
            .0,
    );
    refused(&failure(Untagged::Number, 1).await.0);
    refused(&failure(Untagged::Text, "x".to_owned()).await.0);
    refused(&failure(|n: u32| Tagged::Inner { n }, 1).await.0);
    refused(&failure(|| Skipping { maybe: None }, ()).await.0);
}

#[procession::test]
async fn an_error_says_which_side_it_is_about() {
    let bomb = |place| Bomb::new(place, Panic, 0);
    for place in [Place::EncodeArguments, Place::DecodeArguments] {
        let said = failure(carried, bomb(place)).await.0.to_string();
        assert!(
            said.contains("argument") && said.contains("a last word"),
            "{said}"
        );
    }
    for place in [Place::EncodeResult, Place::DecodeResult] {
        let said = failure(carried, bomb(place)).await.0.to_string();
        assert!(
            said.contains("result") && said.contains("a last word"),
            "{said}"
        );
    }
}
