//! A TLS connection that keeps no buffer while nothing is on its way.
//!
//! rustls' unbuffered interface lends it the caller's buffers. Its buffered one keeps 4 KiB a connection from the
//! first read to the end, which for a held device is a third of what it weighs. What is read is decrypted into the
//! caller's buffer, what is written leaves with one system call.

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls::Error;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// What is read at once: a server's whole first flight, as a rule.
const READ: usize = 4096;

/// A TLS connection, client side.
pub(crate) struct TlsStream {
    io: TcpStream,
    tls: UnbufferedClientConnection,
    /// Received and not decrypted yet; no memory where empty.
    incoming: Vec<u8>,
    /// Encrypted and not sent yet; no memory where empty.
    outgoing: Vec<u8>,
    ended: bool,
}

/// What rustls can do after all that was received has been processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshaking,
    Open,
    Ended,
}

impl TlsStream {
    /// Shakes hands. The last flight of TLS 1.3 is left to travel with the first write if `coalesces`. Boxed from the
    /// start: it is a kilobyte, and passed on from hand to hand.
    pub(crate) async fn shake_hands(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        io: TcpStream,
        coalesces: bool,
    ) -> io::Result<Box<Self>> {
        let tls = UnbufferedClientConnection::new(config, name).map_err(broken)?;
        let mut stream =
            Box::new(TlsStream { io, tls, incoming: Vec::new(), outgoing: Vec::new(), ended: false });
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        if !coalesces {
            stream.flush().await?;
        }
        Ok(stream)
    }

    /// What was negotiated.
    pub(crate) fn connection(&self) -> &rustls::CommonState {
        &self.tls
    }

    /// Encrypts and sends; what comes in meanwhile is added to `plain`.
    pub(crate) async fn send(&mut self, message: &[u8], plain: &mut BytesMut) -> io::Result<()> {
        self.encrypt(message, plain)?;
        self.flush().await
    }

    /// Receives at least one byte into `plain`, or none where the other side has closed. Loses nothing when dropped.
    pub(crate) async fn receive(&mut self, plain: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|cx| self.poll_receive(cx, plain)).await
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_drain(cx)).await
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut early = BytesMut::new();
        loop {
            match self.process(&mut early)? {
                Stage::Handshaking => {}
                Stage::Open => return Poll::Ready(Ok(())),
                Stage::Ended => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
            ready!(self.poll_drain(cx))?;
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, plain: &mut BytesMut) -> Poll<io::Result<usize>> {
        let before = plain.len();
        loop {
            if !self.incoming.is_empty() {
                self.process(plain)?;
            }
            if plain.len() > before {
                return Poll::Ready(Ok(plain.len() - before));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            // What rustls has to say by itself, and a flight that waits for company which does not come.
            if let Poll::Ready(sent) = self.poll_drain(cx) {
                sent?;
            }
            if ready!(self.poll_fill(cx))? == 0 {
                self.ended = true;
            }
        }
    }

    /// Reads once. No buffer is held while there is nothing to read.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.io.poll_read_ready(cx))?;
        self.incoming.reserve(READ);
        let read = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.incoming);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        read
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                all if all == self.outgoing.len() => self.outgoing = Vec::new(),
                some => drop(self.outgoing.drain(..some)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Lets rustls process what was received: decrypted data goes to `plain`, handshake data to what is to be sent.
    fn process(&mut self, plain: &mut BytesMut) -> io::Result<Stage> {
        let stage = self.drive(plain, |_, _| Ok(()));
        stage.inspect_err(|_| self.explain())
    }

    fn encrypt(&mut self, message: &[u8], plain: &mut BytesMut) -> io::Result<()> {
        let stage = self.drive(plain, |traffic, outgoing| {
            room(outgoing, |buffer| match traffic.encrypt(message, buffer) {
                Ok(written) => Ok(Ok(written)),
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    Ok(Err(required_size))
                }
                Err(EncryptError::EncryptExhausted) => Err(broken(Error::EncryptError)),
            })
        })?;
        if stage == Stage::Open { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Goes through what rustls wants until it wants more bytes, and does `open` where data may be sent.
    fn drive(
        &mut self,
        plain: &mut BytesMut,
        mut open: impl FnMut(&mut WriteTraffic<'_, ClientConnectionData>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Stage> {
        let TlsStream { tls, incoming, outgoing, .. } = self;
        let stage = loop {
            let UnbufferedStatus { mut discard, state } = tls.process_tls_records(incoming);
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    forget(incoming, discard);
                    return Err(broken(error));
                }
            };
            let reached = match state {
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut data, outgoing)?;
                    None
                }
                // It is queued, and everything that is queued later is sent later.
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::ReadTraffic(mut records) => {
                    while let Some(record) = records.next_record() {
                        let record = record.map_err(broken)?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    None
                }
                ConnectionState::WriteTraffic(mut traffic) => {
                    open(&mut traffic, outgoing)?;
                    Some(Stage::Open)
                }
                ConnectionState::BlockedHandshake => Some(Stage::Handshaking),
                ConnectionState::PeerClosed | ConnectionState::Closed => Some(Stage::Ended),
                // Early data goes to servers alone, and the list is open.
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            forget(incoming, discard);
            if let Some(stage) = reached {
                break stage;
            }
        };
        self.ended |= stage == Stage::Ended;
        Ok(stage)
    }

    /// Sends the alert that says what was wrong, as far as that goes: the error is known already.
    fn explain(&mut self) {
        let TlsStream { io, tls, incoming, outgoing, .. } = self;
        loop {
            let UnbufferedStatus { discard, state } = tls.process_tls_records(incoming);
            let queued = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, outgoing).is_ok(),
                _ => false,
            };
            forget(incoming, discard);
            if !queued {
                break;
            }
        }
        // The peer may be gone, and nobody waits for it.
        let _ = io.try_write(outgoing);
        *outgoing = Vec::new();
    }
}

/// Drops what has been processed, and the buffer along with the last of it.
fn forget(incoming: &mut Vec<u8>, processed: usize) {
    if processed >= incoming.len() {
        *incoming = Vec::new();
    } else {
        incoming.drain(..processed);
    }
}

/// What rustls found wrong, as an I/O error that [`crate::wire::classify`] reads.
fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn encode(data: &mut EncodeTlsData<'_, ClientConnectionData>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    room(outgoing, |buffer| match data.encode(buffer) {
        Ok(written) => Ok(Ok(written)),
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => Ok(Err(required_size)),
        Err(EncodeError::AlreadyEncoded) => Err(io::ErrorKind::InvalidData.into()),
    })
}

/// Appends what `write` writes, which is asked first how much room it needs.
fn room(
    outgoing: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> io::Result<Result<usize, usize>>,
) -> io::Result<()> {
    let start = outgoing.len();
    loop {
        match write(&mut outgoing[start..])? {
            Ok(written) => {
                outgoing.truncate(start + written);
                return Ok(());
            }
            Err(needed) => outgoing.resize(start + needed, 0),
        }
    }
}

/// A TLS connection as other protocols' libraries want one: bytes that were decrypted and not taken wait here.
pub(crate) struct TlsBytes {
    stream: Box<TlsStream>,
    plain: BytesMut,
}

impl From<Box<TlsStream>> for TlsBytes {
    fn from(stream: Box<TlsStream>) -> Self {
        TlsBytes { stream, plain: BytesMut::new() }
    }
}

impl AsyncRead for TlsBytes {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let TlsBytes { stream, plain } = self.get_mut();
        if plain.is_empty() {
            ready!(stream.poll_receive(cx, plain))?;
        }
        let taken = plain.split_to(plain.len().min(buffer.remaining()));
        buffer.put_slice(&taken);
        if plain.is_empty() {
            *plain = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsBytes {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let TlsBytes { stream, plain } = self.get_mut();
        // What was taken earlier goes first, which also bounds what is queued. A last flight that waits for this
        // write is small and goes with it.
        if stream.outgoing.len() > READ {
            ready!(stream.poll_drain(cx))?;
        }
        stream.encrypt(bytes, plain)?;
        // What cannot be sent at once is sent by the flush that every user of this type ends with.
        if let Poll::Ready(sent) = stream.poll_drain(cx) {
            sent?;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut self.get_mut().stream;
        ready!(stream.poll_drain(cx))?;
        Pin::new(&mut stream.io).poll_shutdown(cx)
    }
}
