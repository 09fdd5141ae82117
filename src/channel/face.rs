//! The public methods and traits that the ends of a queue and of a pipe have in common.
//!
//! A macro writes them, because a public type per end keeps the flavor out of users' signatures. Its parameters are
//! what differs: the flavor, how the documentation calls the channel, and what closing a sink does. Never here:
//! behaviour; every method hands over to [`Tx`](super::Tx), [`Outbox`](super::Outbox) or [`Rx`](super::Rx).

/// What `Sender` and `PipeSender` have in common. The struct has the fields `tx` and `outbox`, and is `#[pin_project]`.
macro_rules! sender_face {
    (
        $sender:ident is a side of $flavor:ident,
        called $channel:literal,
        busy while $busy:literal,
        $close_doc:literal closes by $poll_close:ident
    ) => {
        impl<T> $sender<T> {
            pub(super) fn new(flavor: $crate::channel::$flavor) -> Self {
                $sender {
                    tx: $crate::channel::Tx::new(flavor),
                    outbox: ::std::default::Default::default(),
                }
            }

            #[doc = ::std::concat!("Whether the ", $channel, " was closed, or no process can receive any more.")]
            pub fn is_closed(&self) -> bool {
                $crate::channel::Flavor::is_closed(self.tx.flavor())
            }

            #[doc = ::std::concat!("Closes the ", $channel, " for all processes.")]
            ///
            /// Messages that were sent before are still received.
            #[doc(alias = "shutdown")]
            pub fn close(&self) {
                $crate::channel::Flavor::close(self.tx.flavor());
            }

            #[doc = ::std::concat!("Resolves when the ", $channel, " is closed, or no process can receive any more.")]
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T> {
                self.tx.closed()
            }
        }

        impl<T: ::serde::Serialize> $sender<T> {
            /// Sends `value` if there is room now.
            ///
            /// # Errors
            ///
            #[doc = ::std::concat!("There is no room now, ", $busy, ", no process can receive any more, or the ")]
            /// value cannot be sent. The error has the value.
            #[doc(alias = "put_nowait")]
            pub fn try_send(&self, value: T) -> Result<(), $crate::channel::TrySendError<T>> {
                self.tx.try_send(value)
            }

            /// Sends `value`, blocking this thread until there is room. Not for async code.
            ///
            /// # Errors
            ///
            /// No process can receive any more, or the value cannot be sent. The error has the value.
            pub fn blocking_send(&self, value: T) -> Result<(), $crate::channel::SendError<T>> {
                self.tx.blocking_send(value)
            }
        }

        impl<T: ::serde::Serialize + Send + 'static> $sender<T> {
            /// Sends `value` when there is room.
            ///
            /// When this is ready, the message is in shared memory: it is received even if this process ends.
            ///
            /// # Errors
            ///
            /// No process can receive any more, or the value cannot be sent. The error has the value.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it has sent nothing, and the value is dropped. Only a message of more than
            /// 1 MiB that was being copied at that time, because the socket had no room for it, may have been sent.
            #[doc(alias = "put")]
            pub fn send(
                &self,
                value: T,
            ) -> impl Future<Output = Result<(), $crate::channel::SendError<T>>> + Send + Unpin + use<'_, T>
            {
                self.tx.send(value)
            }
        }

        impl<T: ::serde::Serialize + Send + 'static> ::futures::Sink<T> for $sender<T> {
            type Error = $crate::channel::SendError<T>;

            fn poll_ready(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Result<(), Self::Error>> {
                self.poll_flush(cx)
            }

            fn start_send(self: ::std::pin::Pin<&mut Self>, value: T) -> Result<(), Self::Error> {
                let this = self.project();
                this.outbox.start_send(this.tx, value)
            }

            fn poll_flush(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Result<(), Self::Error>> {
                let this = self.project();
                this.outbox.poll_flush(this.tx, cx)
            }

            #[doc = $close_doc]
            fn poll_close(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Result<(), Self::Error>> {
                let this = self.project();
                this.outbox.$poll_close(this.tx, cx)
            }
        }

        impl<T> ::serde::Serialize for $sender<T> {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                ::serde::Serialize::serialize(self.tx.flavor(), serializer)
            }
        }

        impl<'de, T> ::serde::Deserialize<'de> for $sender<T> {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$crate::channel::$flavor as ::serde::Deserialize>::deserialize(deserializer).map(Self::new)
            }
        }

        impl<T> ::std::fmt::Debug for $sender<T> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.tx.fmt(f)
            }
        }
    };
}

/// What `Receiver` and `PipeReceiver` have in common. The struct has the fields `rx` and `waiter`, and is
/// `#[pin_project]`.
macro_rules! receiver_face {
    (
        $receiver:ident is a side of $flavor:ident,
        called $channel:literal,
        busy while $busy:literal,
        $next:literal takes over what was being decoded
    ) => {
        impl<T> $receiver<T> {
            pub(super) fn new(flavor: $crate::channel::$flavor) -> Self {
                $receiver {
                    rx: $crate::channel::Rx::new(flavor),
                    waiter: ::std::default::Default::default(),
                }
            }

            #[doc = ::std::concat!("Whether the ", $channel, " was closed, or no process can send any more.")]
            ///
            /// There may still be messages.
            pub fn is_closed(&self) -> bool {
                $crate::channel::Flavor::is_closed(self.rx.flavor())
            }

            #[doc = ::std::concat!("Closes the ", $channel, " for all processes.")]
            ///
            /// Messages that were sent before are still received.
            pub fn close(&self) {
                $crate::channel::Flavor::close(self.rx.flavor());
            }

            #[doc = ::std::concat!("Resolves when the ", $channel, " is closed, or no process can send any more.")]
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub fn closed(&self) -> impl Future<Output = ()> + Send + Unpin + use<'_, T> {
                self.rx.closed()
            }
        }

        impl<T: ::serde::de::DeserializeOwned> $receiver<T> {
            /// Receives a message if there is one now.
            ///
            /// # Errors
            ///
            #[doc = ::std::concat!("There is no message now, ", $busy, ", there will be no more messages, or ")]
            /// the message cannot be decoded.
            #[doc(alias = "get_nowait")]
            pub fn try_recv(&self) -> Result<T, $crate::channel::TryRecvError> {
                self.rx.try_recv()
            }

            /// Receives a message, blocking this thread until there is one. Not for async code.
            ///
            /// # Errors
            ///
            /// There will be no more messages, or the message cannot be decoded.
            pub fn blocking_recv(&self) -> Result<T, $crate::channel::RecvError> {
                self.rx.blocking_recv()
            }
        }

        impl<T: ::serde::de::DeserializeOwned + Send + 'static> $receiver<T> {
            /// Receives a message when there is one.
            ///
            /// # Errors
            ///
            /// There will be no more messages, or the message cannot be decoded.
            ///
            /// # Cancel safety
            ///
            /// Cancel safe: dropped before it is ready, it has received nothing. A message of more than 1 MiB that was
            #[doc = ::std::concat!("being decoded at that time is kept for ", $next, ".")]
            #[doc(alias = "get")]
            pub fn recv(
                &self,
            ) -> impl Future<Output = Result<T, $crate::channel::RecvError>> + Send + Unpin + use<'_, T>
            {
                self.rx.recv()
            }
        }

        impl<T: ::serde::de::DeserializeOwned + Send + 'static> ::futures::Stream for $receiver<T> {
            type Item = Result<T, $crate::channel::RecvError>;

            fn poll_next(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Option<Self::Item>> {
                let this = self.project();
                this.rx.poll_recv(this.waiter, cx).map(|received| match received {
                    Err($crate::channel::RecvError::Closed) => None,
                    other => Some(other),
                })
            }
        }

        impl<T> ::serde::Serialize for $receiver<T> {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                ::serde::Serialize::serialize(self.rx.flavor(), serializer)
            }
        }

        impl<'de, T> ::serde::Deserialize<'de> for $receiver<T> {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$crate::channel::$flavor as ::serde::Deserialize>::deserialize(deserializer).map(Self::new)
            }
        }

        impl<T> ::std::fmt::Debug for $receiver<T> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.rx.fmt(f)
            }
        }
    };
}

pub(crate) use {receiver_face, sender_face};
