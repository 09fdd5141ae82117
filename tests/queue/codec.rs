//! Messages that cannot be encoded or decoded: errors and panics of serde implementations.

use futures::StreamExt as _;
use procession::{RecvError, Sender, queue};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::within;

/// A value whose encoding fails for 1 and panics for 2, whose decoding fails for 3 and panics for 4.
#[derive(Debug)]
struct Odd(u8);

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(serde::ser::Error::custom("1 is not encoded")),
            2 => panic!("2 is not encoded"),
            n => n.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            3 => Err(serde::de::Error::custom("3 is not decoded")),
            4 => panic!("4 is not decoded"),
            n => Ok(Self(n)),
        }
    }
}

#[procession::test]
async fn message_that_cannot_be_encoded_is_returned_and_takes_no_room() {
    let (tx, rx) = queue::<(Sender<u8>, ByteBuf, Odd)>(1).unwrap();
    let (inner_tx, inner_rx) = queue::<u8>(1).unwrap();
    let mut value = (inner_tx, ByteBuf::new(), Odd(1));
    for odd in [1, 2] {
        for len in [10, 100_000, 2 << 20] {
            value.1 = ByteBuf::from(vec![0; len]);
            value.2 = Odd(odd);
            let error = within(tx.send(value)).await.unwrap_err();
            assert!(error.is_encode() && !error.is_closed());
            let error = tx.blocking_send(error.into_inner().unwrap()).unwrap_err();
            assert!(error.is_encode());
            let error = tx.try_send(error.into_inner().unwrap()).unwrap_err();
            assert!(error.is_encode() && !error.is_full());
            value = error.into_inner();
            assert!(tx.is_empty());
        }
    }
    value.0.send(5).await.unwrap();
    assert_eq!(within(inner_rx.recv()).await, Ok(5));
    value.2 = Odd(0);
    tx.try_send(value).unwrap();
    let (inner, bytes, _) = within(rx.recv()).await.unwrap();
    assert_eq!(bytes.len(), 2 << 20);
    drop(inner);
    assert_eq!(within(inner_rx.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn message_that_cannot_be_decoded_is_an_error_and_next_one_follows() {
    let (tx, mut rx) = queue::<(Odd, Sender<u8>, ByteBuf)>(16).unwrap();
    let (inner_tx, inner_rx) = queue::<u8>(1).unwrap();
    for len in [1, 100_000, 2 << 20] {
        for odd in [3, 4, 0] {
            let bytes = ByteBuf::from(vec![0; len]);
            tx.send((Odd(odd), inner_tx.clone(), bytes)).await.unwrap();
        }
        let Err(RecvError::Decode(why)) = within(rx.recv()).await else {
            panic!("3 was decoded");
        };
        assert!(!why.is_empty());
        assert!(matches!(
            within(rx.next()).await,
            Some(Err(RecvError::Decode(_)))
        ));
        assert_eq!(within(rx.recv()).await.unwrap().2.len(), len);
    }
    drop(inner_tx);
    // No copy of the end is left, whether its message was decoded or not.
    assert_eq!(within(inner_rx.recv()).await, Err(RecvError::Closed));
}
