//! Values that cannot be encoded or decoded.

use std::sync::atomic::{AtomicI64, Ordering};

use procession::JoinError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::faulty::Fault::Panic;
use crate::faulty::{Faulty, Place, echo};
use crate::leftovers::alone;
use crate::{failure, quiet};

/// A value whose length changes with every encoding.
#[derive(Debug)]
struct ChangingLength(AtomicI64, i64);

impl Serialize for ChangingLength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let len = self.0.fetch_add(self.1, Ordering::Relaxed);
        ByteBuf::from(vec![1; len as usize]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ChangingLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _: ByteBuf = Deserialize::deserialize(deserializer)?;
        Ok(Self(AtomicI64::new(0), 0))
    }
}

#[procession::test]
async fn value_that_changes_while_it_is_encoded_is_an_encode_error() {
    alone(
        "encoding::value_that_changes_while_it_is_encoded_is_an_encode_error",
        async {
            for step in [1, -1] {
                let made = |step: i64| ChangingLength(AtomicI64::new(100 << 10), step);
                let changing = made(step);
                let outcome = within(quiet().spawn(|_: ChangingLength| (), changing)).await;
                assert!(outcome.is_err_and(|error| error.is_encode()));
                let outcome = within(quiet().spawn(made, step)).await;
                assert!(outcome.is_err_and(|error| error.is_encode()));
            }
        },
    )
    .await;
}

/// Types whose serde attributes need a self-describing format.
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

/// The message says that the attributes need a self-describing format, for arguments and results.
#[procession::test]
async fn serde_attributes_that_need_a_self_describing_format_are_refused() {
    use not_self_describing::{Flattened, Inner, Skipping, Tagged, Untagged};

    #[track_caller]
    fn refused(error: &JoinError) {
        assert!(error.is_encode() || error.is_decode(), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("self-describing") && !message.contains('\n'),
            "{message}"
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
async fn error_message_names_the_argument_or_the_result() {
    let faulty = |place| Faulty::new(place, Panic, 0);
    for place in [Place::EncodeArguments, Place::DecodeArguments] {
        let message = failure(echo, faulty(place)).await.0.to_string();
        assert!(
            message.contains("argument") && message.contains("a last word"),
            "{message}"
        );
    }
    for place in [Place::EncodeResult, Place::DecodeResult] {
        let message = failure(echo, faulty(place)).await.0.to_string();
        assert!(
            message.contains("result") && message.contains("a last word"),
            "{message}"
        );
    }
}
