//! The mock as a device meets it: MQTT 3.1.1, WebSocket and HTTP/1.1 spelt byte by byte over TLS.
//!
//! No MQTT, WebSocket or HTTP library on this side: a test that reads with the codec of the mock, or of our devices,
//! proves only that we agree with ourselves. Section numbers are those of the OASIS standard MQTT 3.1.1. What the
//! official clients send was observed of them on loopback.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod client;
mod conversation;
mod https;
mod recorded;
mod sessions;
mod websocket;
mod world;
