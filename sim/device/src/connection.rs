//! A connection that outlives its attempt: held for a time, or closed at once.

use crate::clock::{after, now};
use crate::mqtt::{Heard, MqttChannel};
use crate::outcome::ConnectFault;
use crate::wire::{StreamFault, WireFault, classify};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// An open MQTT connection of a device that got what it came for.
pub struct Connection {
    channel: Box<MqttChannel>,
}

/// How a connection was held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// For how long.
    pub lasted: Duration,
    /// Pings that were answered.
    pub pings: u32,
    /// Why it ended before its time, if it did.
    pub dropped: Option<ConnectFault>,
}

impl Connection {
    pub(crate) fn new(channel: Box<MqttChannel>) -> Self {
        Connection { channel }
    }

    /// Stays connected for a time, then disconnects. A PINGREQ goes out every `keep_alive`, or as often as CONNECT
    /// promised where that is zero, and must be answered before the next is due; none at all where neither says.
    pub async fn hold(mut self, lasts: Duration, keep_alive: Duration) -> Held {
        let begun = now();
        let promised = Duration::from_secs(self.channel.keep_alive.into());
        let every = [keep_alive, promised].into_iter().find(|every| !every.is_zero());
        let mut held = Held::default();
        held.dropped = self.keep(after(begun, lasts), every, &mut held.pings).await.err();
        held.lasted = now() - begun;
        if held.dropped.is_none() {
            Box::pin(self.close()).await;
        }
        held
    }

    /// Stays connected until then, or until the connection breaks.
    async fn keep(
        &mut self,
        end: Instant,
        every: Option<Duration>,
        pings: &mut u32,
    ) -> Result<(), ConnectFault> {
        self.settle().await?;
        let mut due = every.map(|every| after(now(), every));
        let mut awaited = false;
        loop {
            let next = due.map_or(end, |due| due.min(end));
            match timeout_at(next.into(), self.channel.heard()).await {
                Ok(Ok(Heard::Pong)) => {
                    *pings += u32::from(awaited);
                    awaited = false;
                }
                Ok(Ok(Heard::Publish)) => self.settle().await?,
                Ok(Err(broken)) => return Err(fault(broken)),
                Err(_) if next == end => return Ok(()),
                Err(_) if awaited => return Err(ConnectFault::Silent),
                Err(_) => {
                    Box::pin(self.channel.ping()).await.map_err(fault)?;
                    awaited = true;
                    due = every.map(|every| after(now(), every));
                }
            }
        }
    }

    // Sending is boxed, as is saying goodbye: it is short, and a held device should not weigh what it needs for it.
    async fn settle(&mut self) -> Result<(), ConnectFault> {
        Box::pin(self.channel.settle()).await.map_err(fault)
    }

    /// Says goodbye and closes.
    pub async fn close(self) {
        self.channel.close(true).await;
    }
}

fn fault(broken: WireFault) -> ConnectFault {
    match broken {
        WireFault::Closed => ConnectFault::Closed,
        WireFault::Malformed => ConnectFault::Garbled,
        WireFault::Io(error) => match classify(&error) {
            // An alert is how TLS closes in anger.
            StreamFault::Alert(_) => ConnectFault::Closed,
            StreamFault::Fault(fault) => fault,
        },
    }
}
