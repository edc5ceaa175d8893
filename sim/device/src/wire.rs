//! MQTT packets over one stream: a codec and a buffer each way.

use crate::outcome::ConnectFault;
use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Codec, Packet};
use rustls::CertificateError as Why;
use sim_protocol::mqtt::MAX_MESSAGE;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::codec::{Decoder as _, Encoder as _};

/// The largest packet taken: one official client takes inbound messages of 256 KiB.
const MAX_INCOMING: usize = 256 * 1024;

/// Why a packet could not be sent or received.
pub(crate) enum WireFault {
    Closed,
    Io(io::Error),
    Malformed,
}

pub(crate) struct Wire<S> {
    stream: S,
    codec: Codec,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Wire {
            stream,
            codec: Codec { max_incoming_size: MAX_INCOMING, max_outgoing_size: MAX_MESSAGE + 1024 },
            incoming: BytesMut::with_capacity(1024),
            outgoing: BytesMut::with_capacity(512),
        }
    }

    /// Queues a packet; small packets travel together with the next flush.
    pub(crate) fn put(&mut self, packet: Packet) -> Result<(), WireFault> {
        self.codec.encode(packet, &mut self.outgoing).map_err(|_| WireFault::Malformed)
    }

    pub(crate) async fn flush(&mut self) -> Result<(), WireFault> {
        self.stream.write_all(&self.outgoing).await.map_err(WireFault::Io)?;
        self.outgoing.clear();
        self.stream.flush().await.map_err(WireFault::Io)
    }

    pub(crate) async fn next(&mut self) -> Result<Packet, WireFault> {
        loop {
            if !self.incoming.is_empty()
                && let Some(packet) =
                    self.codec.decode(&mut self.incoming).map_err(|_| WireFault::Malformed)?
            {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.incoming).await.map_err(WireFault::Io)? == 0 {
                return Err(WireFault::Closed);
            }
        }
    }

    /// Sends what is queued and closes. MQTT's DISCONNECT inside TLS already says that nothing was cut off, so no
    /// close_notify follows it: that would be one more packet for every device.
    pub(crate) async fn close(mut self) {
        let _ = self.flush().await;
    }
}

/// What a TLS or TCP failure means.
pub(crate) enum StreamFault {
    /// The peer refused our certificate or the whole handshake with an alert.
    Alert(rustls::AlertDescription),
    Fault(ConnectFault),
}

pub(crate) fn classify(error: &io::Error) -> StreamFault {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(error) = tls {
        return match error {
            rustls::Error::AlertReceived(alert) => StreamFault::Alert(*alert),
            rustls::Error::InvalidCertificate(why) => StreamFault::Fault(match why {
                Why::Expired
                | Why::ExpiredContext { .. }
                | Why::NotValidYet
                | Why::NotValidYetContext { .. } => ConnectFault::ServerOutOfDate,
                Why::NotValidForName | Why::NotValidForNameContext { .. } => ConnectFault::ServerMisnamed,
                _ => ConnectFault::ServerNotTrusted,
            }),
            _ => StreamFault::Fault(ConnectFault::TlsBroken),
        };
    }
    StreamFault::Fault(match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFault::ConnectionRefused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => ConnectFault::Closed,
        io::ErrorKind::AddrNotAvailable => ConnectFault::NoSourcePort,
        // EMFILE and ENFILE have no stable kind of their own.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => ConnectFault::NoDescriptor,
        _ => ConnectFault::Network,
    })
}
