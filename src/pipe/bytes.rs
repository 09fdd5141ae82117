//! A pipe of bytes, in both directions.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::Descriptor;
use crate::codec::attachments;
use crate::codec::move_state::MoveState;
use crate::sys::reactor::ByteSocket;

/// Makes a pipe of bytes: two ends, each of which reads what the other writes. It is a pair of sockets.
///
/// # Errors
///
/// The kernel has no descriptors left.
pub fn byte_pipe() -> io::Result<(BytePipe, BytePipe)> {
    let (a, b) = std::os::unix::net::UnixStream::pair()?;
    Ok((BytePipe::new(a.try_into()?), BytePipe::new(b.try_into()?)))
}

/// One end of a [`byte_pipe`]. Sending it to another process moves it.
///
/// It must be read and written inside a Tokio runtime. It registers with the runtime when it is first used.
#[derive(Debug)]
pub struct BytePipe {
    socket: ByteSocket,
    move_state: Arc<MoveState>,
}

impl BytePipe {
    fn new(socket: ByteSocket) -> Self {
        Self {
            socket,
            move_state: Arc::default(),
        }
    }
}

impl AsyncRead for BytePipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.socket.registered()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for BytePipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.socket.registered()?).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer in this process.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.registered()?).poll_shutdown(cx)
    }
}

impl Serialize for BytePipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attachments::attach_end(&self.move_state, "an end of a pipe")
            .map_err(ser::Error::custom)?;
        Descriptor(&self.socket).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BytePipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stream = Descriptor::<std::os::unix::net::UnixStream>::deserialize(deserializer)?;
        let socket = stream.into_inner().try_into();
        socket.map(Self::new).map_err(de::Error::custom)
    }
}
