//! Serial numbers, depth and size.

use super::draft::{Ca, Ext};
use super::extensions::EXAMPLE;
use super::scene::{Scene, SerialRule};
use super::workshop::Workshop;
use super::{Expected, Family, Others, Recipe, Row};
use crate::der::{self, oid};
use crate::issuer::IssueError;
use std::sync::Arc;

const RANDOM_SERIALS: &str =
    "Reissue the certificate with a serial number of 16 random bytes, the top bit clear.";
const NOTHING: &str = "Nothing to repair: this is as it should be.";

pub(super) const SERIAL_ROWS: &[Row] = &[
    numbered("serial-zero", |w| with_serial(w, vec![0]))
        .says("the serial number of its certificate is 0", RANDOM_SERIALS)
        .diagnosed("serial-nonpositive"),
    numbered("serial-negative", |w| {
        let mut serial = octets(w, 16);
        serial[0] |= 0x80;
        with_serial(w, serial)
    })
    .says(
        "the serial number of its certificate is negative: its top bit is set and no zero precedes it",
        RANDOM_SERIALS,
    )
    .diagnosed("serial-nonpositive"),
    numbered("serial-one", |w| with_serial(w, vec![1]))
        .says("the serial number of its certificate is 1, which is easily guessed", RANDOM_SERIALS)
        .diagnosed("serial-predictable"),
    numbered("serial-20-octets", |w| with_serial(w, positive(octets(w, 20))))
        .says("the serial number of its certificate has 20 octets, as many as are allowed", NOTHING),
    numbered("serial-21-octets", |w| {
        let mut serial = octets(w, 21);
        (serial[0], serial[1]) = (0, serial[1] | 0x80);
        with_serial(w, serial)
    })
    .says("the serial number of its certificate has 21 octets, one more than is allowed", RANDOM_SERIALS)
    .diagnosed("serial-long"),
    numbered("serial-40-octets", |w| with_serial(w, positive(octets(w, 40))))
        .says("the serial number of its certificate has 40 octets, twice what is allowed", RANDOM_SERIALS)
        .diagnosed("serial-long"),
    Row::chain(
        "serial-nonminimal",
        Family::Serial,
        Expected::Refused("invalid-certificate"),
        Others::are(false, true),
        |w| {
            let serial = [vec![0], positive(octets(w, 16))].concat();
            with_serial(w, serial)
        },
    )
    .says("the serial number of its certificate has a superfluous leading zero", RANDOM_SERIALS)
    .diagnosed("serial-der"),
    numbered("serial-dup-issuer", |w| {
        numbered_by(w, w.factory().certificate.serial().to_vec(), SerialRule::Fixed)
    })
    .says("its certificate and that of its CA have the same serial number", NOTHING),
];

const SHORTER: &str = "Issue the device certificates from a CA that is nearer to the verified one.";
const SMALLER: &str = "Reissue the device certificate without what makes it so large.";

pub(super) const ROWS: &[Row] = &[
    shaped("depth-3", Expected::Accept, Others::are(true, true), |w| deep(w, "depth-3", 3))
        .says("there are 3 CAs between its certificate and the verified root", SHORTER)
        .diagnosed("chain-depth"),
    shaped("depth-6", Expected::Accept, Others::are(true, true), |w| deep(w, "depth-6", 6))
        .says("there are 6 CAs between its certificate and the verified root", SHORTER)
        .diagnosed("chain-depth"),
    shaped("depth-7", Expected::Accept, Others::are(true, false), |w| deep(w, "depth-7", 7))
        .says("there are 7 CAs between its certificate and the verified root", SHORTER)
        .diagnosed("chain-depth"),
    shaped("depth-10", Expected::Accept, Others::are(true, false), |w| deep(w, "depth-10", 10))
        .says("there are 10 CAs between its certificate and the verified root", SHORTER)
        .diagnosed("chain-depth")
        .guessed(),
    shaped("depth-11", NO_PATH, Others::are(true, false), |w| deep(w, "depth-11", 11))
        .says(
            "there are 11 CAs between its certificate and the verified root, more than are followed",
            SHORTER,
        )
        .diagnosed("chain-depth")
        .guessed(),
    shaped("depth-40", NO_PATH, Others::are(true, false), |w| deep(w, "depth-40", 40))
        .says(
            "there are 40 CAs between its certificate and the verified root, more than are followed",
            SHORTER,
        )
        .diagnosed("chain-depth")
        .guessed(),
    shaped("size-leaf-8k", Expected::Accept, Others::are(true, true), |w| padded(w, 8))
        .says("its certificate is over 8 KB long, more than small TLS stacks take", SMALLER)
        .diagnosed("chain-size"),
    shaped("size-leaf-60k", Expected::Accept, Others::are(true, true), |w| padded(w, 60))
        .says("its certificate is over 60 KB long, and TLS takes chains of 64 KB", SMALLER)
        .diagnosed("chain-size"),
    shaped("size-leaf-70k", Expected::Refused("invalid-certificate"), Others::are(true, false), |w| {
        padded(w, 70)
    })
    .says("its certificate is over 70 KB long, more than TLS takes", SMALLER)
    .diagnosed("chain-size")
    .offline(),
    shaped("size-60-junk", Expected::Accept, Others::are(true, true), junk)
        .says(
            "it sends 60 CA certificates that have nothing to do with it",
            "Send nothing but its own chain.",
        )
        .diagnosed("chain-extra"),
    shaped("size-30-same-name", Expected::Accept, Others::are(true, true), |w| {
        let line = w.line("size-30-same-name", |d| d)?;
        let mut above = decoys(w, &line, "size-30-same-name decoy", 30)?;
        above.push(line.certificate.der().to_vec());
        Ok(Scene { above, ..w.scene(&line, &[]) }.with_group(&line))
    })
    .says(
        "it sends 30 CA certificates that have the name of its CA and other keys",
        "Send the one CA certificate whose key signed the device's.",
    )
    .diagnosed("ambiguous-issuer"),
    shaped("size-120-same-name", NO_PATH, Others::are(false, false), |w| {
        let line = w.line("size-120-same-name", |d| d)?;
        let above = decoys(w, &line, "size-120-same-name decoy", 120)?;
        let scene = Scene { above, ..w.scene(&line, &[]) };
        Ok(scene.with_leaf(|d| d.without(oid::AUTHORITY_KEY_ID)))
    })
    .says(
        "it sends 120 CA certificates that have the name of its CA, and none of them is its CA's",
        "Send the one CA certificate whose key signed the device's.",
    )
    .diagnosed("chain-extra"),
];

const NO_PATH: Expected = Expected::Refused("no-verified-ca");

/// A row on a serial number that is let in.
const fn numbered(id: &'static str, make: Recipe) -> Row {
    Row::chain(id, Family::Serial, Expected::Accept, Others::are(true, true), make)
}

const fn shaped(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Shape, expected, others, make)
}

/// A good device whose certificate has these octets as its serial number, the last of a long one apart.
fn with_serial(w: &Workshop, serial: Vec<u8>) -> Result<Scene, IssueError> {
    let rule = if serial.len() > 8 { SerialRule::Ending } else { SerialRule::Fixed };
    numbered_by(w, serial, rule)
}

fn numbered_by(w: &Workshop, octets: Vec<u8>, serial: SerialRule) -> Result<Scene, IssueError> {
    let mut scene = w.good();
    scene.leaf.serial = octets;
    Ok(Scene { serial, ..scene })
}

/// Octets for a serial number of this length.
fn octets(w: &Workshop, length: usize) -> Vec<u8> {
    let blocks = (0..).flat_map(|block| w.seed().draw("odd serial", length as u64, block));
    blocks.take(length).collect()
}

/// The same with the top bit clear and the next one set, so that it is neither negative nor shorter.
fn positive(mut serial: Vec<u8>) -> Vec<u8> {
    serial.iter_mut().take(1).for_each(|octet| *octet = (*octet & 0x7f) | 0x40);
    serial
}

/// Devices with this many CAs between them and the verified root, the nearest of which has a group.
fn deep(w: &Workshop, id: &str, intermediates: u32) -> Result<Scene, IssueError> {
    w.require_room(intermediates)?;
    let mut path = vec![w.root().clone()];
    for level in 1..=intermediates {
        let above = &path[path.len() - 1];
        path.push(w.ca(above, &format!("{id} {level}"), |d| d)?);
    }
    path.reverse();
    let above: Vec<&Ca> = path.iter().map(Arc::as_ref).collect();
    Ok(w.scene(&path[0], &above).with_group(&path[0]))
}

/// A good device with an extension of this many KB that nobody knows.
fn padded(w: &Workshop, kilobytes: usize) -> Result<Scene, IssueError> {
    let value = der::tlv(der::OCTET_STRING, &[&vec![0x5a; kilobytes * 1024]]);
    Ok(w.good().with_leaf(|d| d.with(Ext::raw(EXAMPLE, false, value))))
}

/// A good device that sends CAs of nobody's before its own.
fn junk(w: &Workshop) -> Result<Scene, IssueError> {
    let mut scene = w.good();
    let stranger =
        |n| w.own_root(&format!("size-60-junk {n}"), |d| d).map(|ca| ca.certificate.der().to_vec());
    let strangers = (0..60).map(stranger).collect::<Result<Vec<_>, _>>()?;
    scene.above.splice(..0, strangers);
    Ok(scene)
}

/// CA certificates with the name of `issuer` and other keys, signed by the verified root.
fn decoys(w: &Workshop, issuer: &Ca, label: &str, count: u32) -> Result<Vec<Vec<u8>>, IssueError> {
    let decoy = |n| {
        w.ca(w.root(), &format!("{label} {n}"), |mut d| {
            d.subject = issuer.certificate.subject_der().to_vec();
            d
        })
        .map(|ca| ca.certificate.der().to_vec())
    };
    (0..count).map(decoy).collect()
}
