//! WebSocket: the upgrade, and binary frames in place of writes.
//!
//! Path and subprotocol are the flavour's. Frames are one to a write, as most official clients have it.

use crate::attempt::{Failure, Run};
use crate::tls::{TlsBytes, TlsStream};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use std::io;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// What the library reads at once, and keeps for as long as the connection lives: answers are below 1 KiB.
const READ_BUFFER: usize = 1024;

/// A WebSocket over TLS.
pub(crate) struct WebSocket(WebSocketStream<TlsBytes>);

impl WebSocket {
    /// Upgrades a TLS stream.
    pub(crate) async fn upgrade(run: &Run<'_>, stream: Box<TlsStream>) -> Result<Self, Failure> {
        let manners = run.manners();
        let (host, port) = (&run.target.host, run.target.port);
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let uri = format!("wss://{host}:{port}{}", manners.path);
        let mut request =
            uri.into_client_request().map_err(|_| run.nonsense("a host that no URI can carry"))?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(manners.subprotocol));
        if manners.origin
            && let Ok(origin) = HeaderValue::try_from(format!("https://{host}:{port}"))
        {
            headers.insert("Origin", origin);
        }
        // The default is two buffers of 128 KiB for every device.
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
        let stream = TlsBytes::from(stream);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(WebSocket(socket)),
            Err(Error::Io(error)) => Err(run.failed(&error)),
            Err(Error::Http(answer)) => {
                let status = answer.status();
                let refused = run.refused(None, format!("upgrade refused with {status}"));
                Err(refused.after(status.as_u16()))
            }
            Err(_) => Err(run.nonsense("an upgrade that is not WebSocket")),
        }
    }

    pub(crate) async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.send(Message::Binary(bytes)).await.map_err(io_error)
    }

    /// Receives at least one byte, or none where the other side has closed. Loses nothing when dropped.
    pub(crate) async fn receive(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => {
                    into.extend_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                Some(Ok(Message::Text(_))) => return Err(io::ErrorKind::InvalidData.into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(io_error(error)),
                None => return Ok(0),
            }
        }
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) => {
            io::ErrorKind::ConnectionReset.into()
        }
        other => io::Error::other(other),
    }
}
