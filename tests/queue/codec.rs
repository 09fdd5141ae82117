//! Messages that cannot be encoded or decoded.

use futures::StreamExt as _;
use procession::{RecvError, Sender, queue};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::within;

/// Something that cannot always be encoded, or decoded.
#[derive(Debug)]
struct Odd(u8);

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(serde::ser::Error::custom("not this one")),
            2 => panic!("not this one"),
            n => n.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            3 => Err(serde::de::Error::custom("not that one")),
            4 => panic!("not that one"),
            n => Ok(Self(n)),
        }
    }
}

#[procession::test]
async fn what_cannot_be_encoded_is_given_back_and_takes_no_room() {
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
async fn what_cannot_be_decoded_is_an_error_and_the_next_message_follows() {
    let (tx, mut rx) = queue::<(Odd, Sender<u8>, ByteBuf)>(16).unwrap();
    let (inner_tx, inner_rx) = queue::<u8>(1).unwrap();
    for len in [1, 100_000, 2 << 20] {
        for odd in [3, 4, 0] {
            let bytes = ByteBuf::from(vec![0; len]);
            tx.send((Odd(odd), inner_tx.clone(), bytes)).await.unwrap();
        }
        let Err(RecvError::Decode(why)) = within(rx.recv()).await else {
            panic!("it cannot be decoded");
        };
        assert!(!why.is_empty());
        assert!(matches!(
            within(rx.next()).await,
            Some(Err(RecvError::Decode(_)))
        ));
        assert_eq!(within(rx.recv()).await.unwrap().2.len(), len);
    }
    drop(inner_tx);
    // Neither what was decoded nor what could not be is anywhere.
    assert_eq!(within(inner_rx.recv()).await, Err(RecvError::Closed));
}
