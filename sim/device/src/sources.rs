//! Source addresses: one address has ports for some 28,000 connections to one destination, more take more.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Addresses of this machine that connections are made from, in turn; shared by a run.
#[derive(Debug)]
pub struct Sources {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    turn: AtomicUsize,
}

impl Sources {
    /// These addresses, in this order.
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        let (v4, v6) = addresses.into_iter().partition(IpAddr::is_ipv4);
        Sources { v4, v6, turn: AtomicUsize::new(0) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// The first address that this machine does not have, so that a run can refuse before it starts.
    pub fn check(&self) -> Option<IpAddr> {
        // A datagram socket says the same and takes no port of ours.
        let missing = |address: &&IpAddr| UdpSocket::bind((**address, 0)).is_err();
        self.v4.iter().chain(&self.v6).find(missing).copied()
    }

    /// The first address of another family than the destination's: no connection to it can be made from there.
    pub fn misfit(&self, destination: SocketAddr) -> Option<IpAddr> {
        let others = if destination.is_ipv4() { &self.v6 } else { &self.v4 };
        others.first().copied()
    }

    /// Where the next connection to `destination` comes from, its port left open; `None` where no address is of
    /// the destination's family.
    pub(crate) fn next(&self, destination: SocketAddr) -> Option<SocketAddr> {
        let family = if destination.is_ipv4() { &self.v4 } else { &self.v6 };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = family.get(turn.checked_rem(family.len())?)?;
        Some(SocketAddr::new(*address, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_turns_within_the_family_of_the_destination() {
        let one: IpAddr = "127.0.0.1".parse().expect("an address");
        let two: IpAddr = "127.0.0.2".parse().expect("an address");
        let sources = Sources::new(vec![one, two]);
        let destination = "127.0.0.1:8883".parse().expect("an address");
        let turns: Vec<_> =
            (0..4).filter_map(|_| sources.next(destination)).map(|source| source.ip()).collect();
        assert_eq!(turns, [one, two, one, two]);
        assert_eq!(sources.next("[::1]:8883".parse().expect("an address")), None);
        assert_eq!(sources.count(), 2);
    }

    #[test]
    fn an_address_of_another_machine_is_found() {
        let here: IpAddr = "127.0.0.1".parse().expect("an address");
        // Documentation addresses (RFC 5737) belong to nobody.
        let elsewhere: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!(Sources::new(vec![here]).check(), None);
        assert_eq!(Sources::new(vec![here, elsewhere]).check(), Some(elsewhere));
    }
}
