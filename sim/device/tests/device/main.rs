//! A device as the service meets it: what it sends, when it tries again, how long it stays.
//!
//! The service is a script over TLS on loopback that spells MQTT 3.1.1 and HTTP/1.1 byte by byte. Neither the mock nor
//! the codec of our devices is on that side: a test that reads with them proves only that we agree with ourselves.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod flavours;
mod handshake;
mod holding;
mod peer;
mod retries;
