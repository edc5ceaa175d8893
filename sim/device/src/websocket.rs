//! WebSocket as a stream of bytes: the upgrade, and binary frames in place of writes.
//!
//! Path and subprotocol are those of the official C and Node SDKs.

use crate::attempt::Run;
use crate::outcome::Outcome;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite, Join, join};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// A WebSocket read and written as bytes.
pub(crate) type WebSocket = Join<Pin<Box<dyn AsyncRead + Send>>, Pin<Box<dyn AsyncWrite + Send>>>;

/// Upgrades a TLS stream.
pub(crate) async fn upgrade(run: &Run<'_>, stream: TlsStream<TcpStream>) -> Result<WebSocket, Outcome> {
    let host = &run.target.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let uri = format!("wss://{host}:{}/$iothub/websocket", run.target.port);
    let mut request = uri.into_client_request().map_err(|_| run.nonsense("a host that no URI can carry"))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(bytes_of(socket)),
        Err(Error::Io(error)) => Err(run.failed(&error)),
        Err(Error::Http(answer)) => {
            Err(run.refused(None, format!("upgrade refused with {}", answer.status())))
        }
        Err(_) => Err(run.nonsense("an upgrade that is not WebSocket")),
    }
}

fn bytes_of(socket: tokio_tungstenite::WebSocketStream<TlsStream<TcpStream>>) -> WebSocket {
    let (sink, stream) = socket.split();
    let incoming = stream.filter_map(|message| async {
        match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(_)) => Some(Err(io::Error::from(io::ErrorKind::InvalidData))),
            Ok(_) => None,
            Err(error) => Some(Err(io_error(error))),
        }
    });
    let outgoing =
        sink.sink_map_err(io_error).with(|bytes: Bytes| async { Ok::<_, io::Error>(Message::Binary(bytes)) });
    let reader: Pin<Box<dyn AsyncRead + Send>> = Box::pin(StreamReader::new(Box::pin(incoming)));
    let writer: Pin<Box<dyn AsyncWrite + Send>> =
        Box::pin(SinkWriter::new(CopyToBytes::new(Box::pin(outgoing))));
    join(reader, writer)
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
