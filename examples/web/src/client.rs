//! As much of an HTTP/1.1 client as it takes to ask this server something.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }
}

/// Asks and waits for the answer.
pub(crate) async fn get(server: SocketAddr, target: &str) -> io::Result<Answer> {
    let mut connection = ask(server, target).await?;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).await?;
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "half an answer"))
}

/// Asks. Dropping the connection is a client that goes away.
pub(crate) async fn ask(server: SocketAddr, target: &str) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(server).await?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    Ok(connection)
}

/// An answer that is whole: its body is as long as its head says, or comes in pieces up to an empty one.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let body = &bytes[end + 4..];
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let field = |wanted: &str| {
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim())
    };
    let body = match field("content-length") {
        Some(length) => (length.parse() == Ok(body.len())).then(|| body.to_vec())?,
        None if field("transfer-encoding") == Some("chunked") => pieces(body)?,
        None => return None,
    };
    let status = status.parse().ok()?;
    Some(Answer { status, body })
}

fn pieces(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        bytes = &bytes[end + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length + 2..)?;
    }
}
