//! MQTT over WebSocket: any path, subprotocol `mqtt` in any case, binary frames as a stream of bytes.
//!
//! Clients differ in path (`/$iothub/websocket`, `/`, `/mqtt`) and spelling (`MQTT`), and one spreads a packet over
//! many frames; all of that is accepted (RFC 6455, MQTT 3.1.1 section 6).

use super::{Peer, json_value};
use crate::shell::service::Service;
use crate::shell::{clock, mqtts};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use sim_protocol::errors;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, join};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// What an upgraded connection needs.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) peer: Peer,
    pub(super) service: Arc<Service>,
}

/// Takes WebSocket upgrades aside; everything else goes on to the APIs.
pub(super) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok());
    if !upgrade.is_some_and(|u| u.eq_ignore_ascii_case("websocket")) {
        return next.run(request).await;
    }
    let (key, protocol) = match (key(request.headers()), protocol(request.headers())) {
        (Some(key), Some(protocol)) => (key, protocol),
        _ => {
            let registrar = &gate.service.registrar;
            registrar.ledger.malformed.add();
            let text = "upgrade with a Sec-WebSocket-Key and the subprotocol mqtt";
            let body = registrar.error_body(errors::BAD_ARGUMENT, text, clock::now());
            return json_value(errors::BAD_ARGUMENT.status(), &body);
        }
    };
    let service = gate.service.clone();
    service.owner.spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            let stream = mqtts::Inner { stream: bytes_of(socket), presented: gate.peer.presented };
            mqtts::converse(stream, gate.peer.accepted, &gate.service).await;
        }
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, key),
        (header::SEC_WEBSOCKET_PROTOCOL, protocol),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn key(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// The client's own spelling of `mqtt` among the subprotocols it offers.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|v| v.to_str().ok());
    let mut offered = offered.flat_map(|v| v.split(',')).map(str::trim);
    HeaderValue::from_str(offered.find(|p| p.eq_ignore_ascii_case("mqtt"))?).ok()
}

fn bytes_of<S>(socket: WebSocketStream<S>) -> impl AsyncRead + AsyncWrite + Unpin
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, stream) = socket.split();
    let incoming = stream.filter_map(|message| async {
        match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(_)) => Some(Err(io::Error::from(io::ErrorKind::InvalidData))),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        }
    });
    let outgoing = sink
        .sink_map_err(|error: Error| io::Error::other(error))
        .with(|bytes: Bytes| async { Ok::<_, io::Error>(Message::Binary(bytes)) });
    let reader: Pin<Box<dyn AsyncRead + Send>> = Box::pin(StreamReader::new(Box::pin(incoming)));
    let writer: Pin<Box<dyn AsyncWrite + Send>> =
        Box::pin(SinkWriter::new(CopyToBytes::new(Box::pin(outgoing))));
    join(reader, writer)
}
