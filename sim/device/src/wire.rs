//! MQTT packets over one connection, directly over TLS or in a WebSocket. No buffer outlives the bytes in it.

use crate::outcome::ConnectFault;
use crate::tls::TlsStream;
use crate::websocket::WebSocket;
use bytes::BytesMut;
use rumqttc::mqttbytes::Error;
use rumqttc::mqttbytes::v4::Packet;
use rustls::CertificateError as Why;
use sim_protocol::mqtt::MAX_MESSAGE;
use std::io;

/// The largest packet taken: one official client takes inbound messages of 256 KiB.
const MAX_INCOMING: usize = 256 * 1024;
/// The largest packet sent: the largest message, its topic and header.
const MAX_OUTGOING: usize = MAX_MESSAGE + 1024;

/// Why a packet could not be sent or received.
pub(crate) enum WireFault {
    Closed,
    Io(io::Error),
    Malformed,
}

/// What carries MQTT.
pub(crate) enum Carrier {
    Tls(Box<TlsStream>),
    WebSocket(Box<WebSocket>),
}

pub(crate) struct Wire {
    carrier: Carrier,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Wire {
    pub(crate) fn new(carrier: Carrier) -> Self {
        Wire { carrier, incoming: BytesMut::new(), outgoing: BytesMut::new() }
    }

    /// Queues a packet; small packets travel together with the next flush.
    pub(crate) fn put(&mut self, packet: &Packet) -> Result<(), WireFault> {
        self.outgoing.reserve(packet.size());
        match packet.write(&mut self.outgoing, MAX_OUTGOING) {
            Ok(_) => Ok(()),
            Err(_) => Err(WireFault::Malformed),
        }
    }

    /// Sends what is queued, in one write.
    pub(crate) async fn flush(&mut self) -> Result<(), WireFault> {
        let queued = std::mem::take(&mut self.outgoing);
        if queued.is_empty() {
            return Ok(());
        }
        let sent = match &mut self.carrier {
            Carrier::Tls(stream) => stream.send(&queued, &mut self.incoming).await,
            Carrier::WebSocket(socket) => socket.send(queued.freeze()).await,
        };
        sent.map_err(WireFault::Io)
    }

    /// The next packet. Loses nothing when dropped.
    pub(crate) async fn next(&mut self) -> Result<Packet, WireFault> {
        loop {
            if let Some(packet) = self.decode()? {
                return Ok(packet);
            }
            let received = match &mut self.carrier {
                Carrier::Tls(stream) => stream.receive(&mut self.incoming).await,
                Carrier::WebSocket(socket) => socket.receive(&mut self.incoming).await,
            };
            if received.map_err(WireFault::Io)? == 0 {
                return Err(WireFault::Closed);
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Packet>, WireFault> {
        if self.incoming.is_empty() {
            return Ok(None);
        }
        match Packet::read(&mut self.incoming, MAX_INCOMING) {
            Ok(packet) => {
                if self.incoming.is_empty() {
                    self.incoming = BytesMut::new();
                }
                Ok(Some(packet))
            }
            Err(Error::InsufficientBytes(_)) => Ok(None),
            Err(_) => Err(WireFault::Malformed),
        }
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
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => ConnectFault::NoSourcePort,
        // EMFILE and ENFILE have no stable kind of their own.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => ConnectFault::NoDescriptor,
        _ => ConnectFault::Network,
    })
}
