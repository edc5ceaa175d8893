//! The mock's faults on demand.

use super::{Entry, Kind, fact};

/// Every fault.
pub(super) fn entries() -> Vec<Entry> {
    TEXTS.iter().map(Text::entry).collect()
}

struct Text {
    id: &'static str,
    meaning: &'static str,
    /// When the service itself behaves so.
    cause: &'static str,
    /// What a good device does.
    reaction: &'static str,
    keys: &'static str,
}

impl Text {
    fn entry(&self) -> Entry {
        Entry {
            causes: vec![self.cause.to_owned()],
            repair: self.reaction.to_owned(),
            source: vec![
                "a fault of the mock, on demand: `mock --faults`, or [[target.mock.fault]]".to_owned(),
            ],
            facts: vec![fact("keys", self.keys)],
            ..Entry::new(Kind::Fault, self.id, self.meaning)
        }
    }
}

const TEXTS: &[Text] = &[
    Text {
        id: "latency",
        meaning: "Everything takes longer.",
        cause: "A loaded service, or a long way to it.",
        reaction: "Wait; time-outs of a device should be minutes, not seconds.",
        keys: "delay",
    },
    Text {
        id: "stall",
        meaning: "Every answer is held until a window of time ends.",
        cause: "A failover, or a garbage collection.",
        reaction: "Wait, and do not open a second connection meanwhile.",
        keys: "lasting, every",
    },
    Text {
        id: "pace",
        meaning: "Requests are worked off one after another at a fixed rate; the rest wait for their turn.",
        cause: "A service that is asked for more than it can do.",
        reaction: "Come at a rate that it can keep up with, with jitter; waits grow without end above it.",
        keys: "rate, queue",
    },
    Text {
        id: "throttle",
        meaning: "The request is answered with 429.",
        cause: "More devices than the quota allows.",
        reaction: "Wait as long as retry-after says, then with jitter.",
        keys: "retry_after",
    },
    Text {
        id: "server-error",
        meaning: "The request is answered with an error of the service's own.",
        cause: "The service fails for a moment.",
        reaction: "Try again with growing waits.",
        keys: "status, retry_after",
    },
    Text {
        id: "drop",
        meaning: "The connection is closed.",
        cause: "A load balancer, or a failover.",
        reaction: "Connect and register again; a registration can be repeated.",
        keys: "none of its own",
    },
    Text {
        id: "half-open",
        meaning: "The connection stays open and never says anything again.",
        cause: "A firewall that forgot the connection.",
        reaction: "Give up after a time-out of the device's own.",
        keys: "none of its own",
    },
    Text {
        id: "slow-tls",
        meaning: "The TLS handshake takes longer.",
        cause: "A loaded front end.",
        reaction: "Wait; the handshake needs a time-out of its own.",
        keys: "delay",
    },
    Text {
        id: "refuse-connect",
        meaning: "MQTT CONNECT is refused with a return code of 1 to 5.",
        cause: "3: the service is unavailable. 4 and 5: the credential, or an id that is not the client's.",
        reaction: "Try 3 again later; for the others compare id scope, registration id and CN.",
        keys: "return_code",
    },
    Text {
        id: "lost-puback",
        meaning: "The device's PUBLISH is not acknowledged.",
        cause: "A packet that is lost with its connection.",
        reaction: "Take the answer if it comes; publish again on the next connection.",
        keys: "none of its own",
    },
    Text {
        id: "duplicate-answer",
        meaning: "The answer is sent twice.",
        cause: "Delivery with QoS 1 is at least once.",
        reaction: "Ignore what answers no open request.",
        keys: "none of its own",
    },
    Text {
        id: "reordered-answer",
        meaning: "The answer is sent before the PUBACK of its request.",
        cause: "The acknowledgement and the answer come from different parts of a service.",
        reaction: "Take the answer by its request id, whatever comes first.",
        keys: "none of its own",
    },
    Text {
        id: "malformed-body",
        meaning: "The answer's body is no JSON.",
        cause: "A proxy that answers in the service's place.",
        reaction: "Treat it as a failure of the service, and try again.",
        keys: "none of its own",
    },
    Text {
        id: "wrong-hub",
        meaning: "The device is told another hub than the one it was assigned to.",
        cause: "An answer that is older than the latest assignment.",
        reaction: "Register again when the hub refuses.",
        keys: "hub",
    },
    Text {
        id: "server-certificate-expired",
        meaning: "The server presents a certificate that has expired.",
        cause: "A proxy in between, or a device clock that is far ahead.",
        reaction: "End the handshake, and check the device's clock.",
        keys: "none of its own",
    },
    Text {
        id: "server-certificate-wrong-name",
        meaning: "The server presents a certificate of another name.",
        cause: "A proxy in between, or a wrong address.",
        reaction: "End the handshake, and check the host name.",
        keys: "none of its own",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use sim_protocol::faults::Fault;

    #[test]
    fn every_fault_is_explained() {
        let ids: Vec<&str> = TEXTS.iter().map(|text| text.id).collect();
        assert_eq!(ids, Fault::ALL_IDS);
    }
}
