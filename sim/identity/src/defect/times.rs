//! Dates: section 7.5 of the fault matrix.

use super::draft::{Ca, Draft};
use super::scene::Scene;
use super::workshop::Workshop;
use super::{Expected, FAILS, Family, INVALID, Others, PASSES, Recipe, Row};
use crate::der;
use crate::issuer::IssueError;
use std::sync::Arc;
use time::Duration;
use time::macros::datetime;

/// webpki takes a verified CA as it is, dates included. `ours:` that the service looks at them; rows that depend on it
/// are marked as guesses.
const PASSES_WEBPKI: Others = Others::are(false, true);

const RENEW: &str = "Renew the device's certificate.";
const RENEW_CA: &str =
    "Renew the CA's certificate with the same name and key, hand it out, and add it to the group.";
const RENEW_ROOT: &str =
    "Upload and verify a renewed root of the same name and key: all below it stays as it is.";
const CHECK_CLOCK: &str =
    "Check the issuer's clock and backdate certificates by a day; until it begins the device has to wait.";

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

pub(super) const ROWS: &[Row] = &[
    row("time-leaf-expired", INVALID, FAILS, |w| leaf_between(w, -Duration::days(30), -Duration::HOUR))
        .says("its certificate has expired", RENEW)
        .diagnosed("expired"),
    row("time-leaf-not-yet", INVALID, FAILS, |w| leaf_between(w, Duration::DAY, Duration::days(30)))
        .says("its certificate is not valid yet", CHECK_CLOCK)
        .diagnosed("not-yet-valid"),
    row("time-leaf-exact-notafter", Expected::Accept, Others::are(false, true), |w| {
        Ok(Scene { at: Some(w.now()), ..leaf_between(w, -Duration::DAY, Duration::ZERO)? })
    })
    .says("this is the last second of its certificate, which still counts", RENEW)
    .diagnosed("expires-in-window")
    .offline(),
    row("time-leaf-exact-notbefore", Expected::Accept, PASSES, |w| {
        Ok(Scene { at: Some(w.now()), ..leaf_between(w, Duration::ZERO, Duration::days(30))? })
    })
    .says(
        "this is the first second of its certificate, which counts already",
        "Nothing to repair: backdate certificates by a day, so that a slow clock does not matter.",
    )
    .offline(),
    row("time-leaf-9999", Expected::Accept, PASSES, |w| {
        Ok(w.good().with_leaf(|d| d.between(w.now() - Duration::DAY, datetime!(9999-12-31 23:59:59 UTC))))
    })
    .says(
        "its certificate never expires: its end is the date that means so",
        "Nothing to repair: device identities of IEEE 802.1AR look like this.",
    )
    .diagnosed("no-expiry"),
    row("time-leaf-nb-after-na", INVALID, FAILS, |w| leaf_between(w, -Duration::DAY, -Duration::days(2)))
        .says(
            "its certificate ends before it begins",
            "Reissue the device's certificate with dates in their order.",
        )
        .diagnosed("validity-inverted"),
    row("time-leaf-gentime-2036", Expected::Accept, PASSES, |w| {
        ends_as(w, GENERALIZED_TIME, b"20360101000000Z")
    })
    .says(
        "its certificate writes a date before 2050 as GeneralizedTime, where UTCTime is required",
        "Write dates before 2050 as UTCTime in the next certificate; verifiers forgive it today.",
    )
    .diagnosed("time-encoding"),
    row("time-leaf-fraction", INVALID, FAILS, |w| ends_as(w, GENERALIZED_TIME, b"20361231235959.5Z"))
        .says("its certificate has a date with fractions of a second", WHOLE_SECONDS)
        .diagnosed("time-encoding"),
    row("time-leaf-no-seconds", INVALID, FAILS, |w| ends_as(w, UTC_TIME, b"3612312359Z"))
        .says("its certificate has a date without seconds", WHOLE_SECONDS)
        .diagnosed("time-encoding"),
    row("time-int-expired", INVALID, FAILS, |w| {
        ca_between(w, "time-int-expired", -Duration::days(30), -Duration::HOUR)
    })
    .says("the certificate of its CA has expired, and with it every device below that CA", RENEW_CA)
    .diagnosed("expired"),
    row("time-int-not-yet", INVALID, FAILS, |w| {
        ca_between(w, "time-int-not-yet", Duration::DAY, Duration::days(3650))
    })
    .says("the certificate of its CA is not valid yet", CHECK_CLOCK)
    .diagnosed("not-yet-valid"),
    row("time-anchor-expired", INVALID, PASSES_WEBPKI, |w| {
        let own = Own::mint(w, "time-anchor-expired", expired)?;
        Ok(own.scene(w).with_verified(&own.root))
    })
    .says("the verified root has expired", RENEW_ROOT)
    .diagnosed("expired")
    .guessed(),
    row("time-anchor-not-yet", INVALID, PASSES_WEBPKI, |w| {
        let own = Own::mint(w, "time-anchor-not-yet", |w, d| {
            d.between(w.now() + Duration::DAY, w.now() + Duration::days(3650))
        })?;
        Ok(own.scene(w).with_verified(&own.root))
    })
    .says("the verified root is not valid yet", CHECK_CLOCK)
    .diagnosed("not-yet-valid")
    .guessed(),
    row("time-expired-root-above-anchor", Expected::Accept, PASSES, |w| {
        let own = Own::mint(w, "time-expired-root-above-anchor", expired)?;
        Ok(own.scene(w).with_verified(&own.line))
    })
    .says(
        "the root above its verified intermediate has expired, which does not matter",
        "Nothing to repair: what lies above a verified CA is not looked at; leave the root out of the \
         chain file.",
    ),
    row("time-root-renewed-same-key", Expected::Accept, PASSES, |w| {
        let own = Own::mint(w, "time-root-renewed-same-key", |w, d| {
            d.between(w.now() - Duration::DAY, w.now() + Duration::days(60))
        })?;
        let serial = w.seed().serial("time-root-renewed-same-key renewed", 0).to_vec();
        let draft = Draft { serial, ..w.ca_draft("time-root-renewed-same-key root") };
        let renewed = w.self_signed(&draft, own.root.signer.clone())?;
        Ok(own.scene(w).with_verified(&renewed))
    })
    .says(
        "it sends the former certificate of a root that was renewed with the same name and key",
        "Put the renewed root into the device's chain file at the next occasion, or leave the root out.",
    )
    .diagnosed("stale-root-sent"),
    row("time-leaf-outlives-ca", Expected::Accept, PASSES, |w| outlives(w, "time-leaf-outlives-ca"))
        .says(
            "its certificate is valid for longer than its CA's, and stops working with that",
            "Plan the renewal of the CA before it expires.",
        )
        .diagnosed("outlives-issuer"),
    row("time-leaf-outlives-ca-later", INVALID, FAILS, |w| {
        let scene = outlives(w, "time-leaf-outlives-ca-later")?;
        Ok(Scene { at: Some(w.now() + CA_LIFE + Duration::DAY), ..scene })
    })
    .says("the certificate of its CA has expired before its own", RENEW_CA)
    .diagnosed("expired")
    .offline(),
    row("time-expires-in-window", Expected::Accept, PASSES, |w| {
        leaf_between(w, -Duration::DAY, Duration::WEEK)
    })
    .says("its certificate is valid today and expires during the rollout", RENEW)
    .diagnosed("expires-in-window"),
    // After those ten minutes it is a good device.
    row("time-clock-skew", INVALID, FAILS, |w| leaf_between(w, Duration::minutes(10), Duration::days(30)))
        .says(
            "its certificate begins in ten minutes: the clock of the factory is ahead, and it boots at once",
            CHECK_CLOCK,
        )
        .diagnosed("not-yet-valid")
        .offline(),
    row("time-mass-expiry", Expected::Accept, PASSES, |w| {
        leaf_between(w, -Duration::HOUR, Duration::days(14))
    })
    .says(
        "its certificate was issued in one hour with a whole batch, and expires with it in one hour",
        "Spread the ends of validity over weeks, and renew the batch in portions before they come.",
    )
    .diagnosed("expires-in-window"),
];

const WHOLE_SECONDS: &str = "Reissue the device's certificate with dates in whole seconds, as YYMMDDHHMMSSZ.";

const fn row(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Time, expected, others, make)
}

/// A good device but for its leaf's dates, counted from now.
fn leaf_between(w: &Workshop, from: Duration, to: Duration) -> Result<Scene, IssueError> {
    Ok(w.good().with_leaf(|d| d.between(w.now() + from, w.now() + to)))
}

/// A good device but for how its leaf writes its end.
fn ends_as(w: &Workshop, form: u8, text: &[u8]) -> Result<Scene, IssueError> {
    Ok(w.good().with_leaf(|d| Draft { not_after: der::tlv(form, &[text]), ..d }))
}

/// Leaves of a CA below the verified root with dates of its own, counted from now.
fn ca_between(w: &Workshop, id: &str, from: Duration, to: Duration) -> Result<Scene, IssueError> {
    Ok(w.below_root(&w.line(id, |d| d.between(w.now() + from, w.now() + to))?))
}

fn expired(w: &Workshop, draft: Draft) -> Draft {
    draft.between(w.now() - Duration::days(3650), w.now() - Duration::HOUR)
}

/// How long the CA lasts whose leaves last longer.
const CA_LIFE: Duration = Duration::days(10);

fn outlives(w: &Workshop, id: &str) -> Result<Scene, IssueError> {
    let line = w.line(id, |d| d.between(w.now() - Duration::DAY, w.now() + CA_LIFE))?;
    Ok(w.below_root(&line))
}

/// A root with dates of its own, and a good CA below it.
struct Own {
    root: Arc<Ca>,
    line: Arc<Ca>,
}

impl Own {
    fn mint(w: &Workshop, id: &str, dated: fn(&Workshop, Draft) -> Draft) -> Result<Self, IssueError> {
        let root = w.own_root(&format!("{id} root"), |d| dated(w, d))?;
        let line = w.ca(&root, id, |d| d)?;
        Ok(Own { root, line })
    }

    fn scene(&self, w: &Workshop) -> Scene {
        w.scene(&self.line, &[&self.line, &self.root]).with_group(&self.line)
    }
}
