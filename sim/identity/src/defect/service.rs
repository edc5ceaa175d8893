//! The instance's state: no certificate is at fault. Section 8 of the fault matrix.
//!
//! Where the fault is a course of events, the scene is the state it ends in; what no state shows has no scene. All
//! but one row stand on a root of their own, so that they are possible under any CA.

use super::draft::Ca;
use super::scene::{AddedCa, AddedGroup, AddedIndividual, HeldCertificate, Scene, TakenFor};
use super::workshop::Workshop;
use super::{Expected, Family, Make, Others, Recipe, Row};
use crate::issuer::IssueError;
use std::sync::Arc;

/// A root and the CA below it that issues a line's leaves.
struct Line {
    root: Arc<Ca>,
    issuing: Arc<Ca>,
}

impl Line {
    /// A line of its own for the row of this id.
    fn own(w: &Workshop, id: &str) -> Result<Self, IssueError> {
        let root = w.own_root(&format!("{id} root"), |d| d)?;
        let issuing = w.ca(&root, &format!("{id} line"), |d| d)?;
        Ok(Line { root, issuing })
    }

    /// Devices of the line that send everything, and an instance that holds these CAs and groups.
    fn scene<const C: usize, const G: usize>(
        &self,
        w: &Workshop,
        cas: [AddedCa; C],
        groups: [AddedGroup; G],
    ) -> Scene {
        let mut scene = w.scene(&self.issuing, &[&self.issuing, &self.root]);
        scene.additions.cas = cas.into();
        scene.additions.groups = groups.into();
        scene
    }
}

fn verified(ca: &Ca) -> AddedCa {
    AddedCa { certificate: ca.certificate.clone(), verified: true }
}

fn unverified(ca: &Ca) -> AddedCa {
    AddedCa { certificate: ca.certificate.clone(), verified: false }
}

fn enabled(ca: &Ca) -> AddedGroup {
    AddedGroup { primary: ca.certificate.clone(), secondary: None, enabled: true }
}

fn disabled(ca: &Ca) -> AddedGroup {
    AddedGroup { enabled: false, ..enabled(ca) }
}

/// A good device with an individual enrollment.
fn individual(w: &Workshop, holds: HeldCertificate, enabled: bool) -> Scene {
    let mut scene = w.good();
    scene.additions.individual = Some(AddedIndividual { holds, enabled });
    scene
}

const fn state(id: &'static str, expected: Expected, make: Recipe) -> Row {
    Row::chain(id, Family::Service, expected, Others::NONE, make)
}

/// What no state of an instance shows.
const fn course(id: &'static str, expected: Expected) -> Row {
    let row = Row::chain(id, Family::Service, expected, Others::NONE, |w| Ok(w.good()));
    Row { make: Make::Nothing, presentable: false, ..row }
}

const NO_VERIFIED_CA: Expected = Expected::Refused("no-verified-ca");
const NO_ENTRY: Expected = Expected::Refused("no-entry");

pub(super) const ROWS: &[Row] = &[
    state("svc-ca-unverified", NO_VERIFIED_CA, |w| {
        let line = Line::own(w, "svc-ca-unverified")?;
        Ok(line.scene(w, [unverified(&line.root)], [enabled(&line.root)]))
    })
    .says(
        "the root was uploaded and never verified",
        "Prove possession of the root: `rollcall ca code`, `rollcall ca prove` and `rollcall ca verify`.",
    )
    .diagnosed("ca-unverified"),
    state("svc-ca-absent", NO_VERIFIED_CA, |w| {
        let line = Line::own(w, "svc-ca-absent")?;
        Ok(line.scene(w, [], [enabled(&line.issuing)]))
    })
    .says(
        "the group holds its CA by value, and no CA of the chain was uploaded",
        "Upload the root or the group's own CA and verify it.",
    )
    .diagnosed("no-verified-ca"),
    state("svc-ca-deleted", NO_VERIFIED_CA, |w| {
        let line = Line::own(w, "svc-ca-deleted")?;
        Ok(line.scene(w, [], [enabled(&line.root)]))
    })
    .says(
        "the verified root was deleted from the instance",
        "Upload the root again and verify it; deleting a CA ends the trust in everything below it.",
    )
    // By reference the group would dangle; scenes hold groups by value.
    .diagnosed("no-verified-ca"),
    state("svc-ca-replaced", NO_VERIFIED_CA, |w| {
        let line = Line::own(w, "svc-ca-replaced")?;
        Ok(line.scene(w, [unverified(&line.root)], [enabled(&line.issuing)]))
    })
    .says(
        "another certificate was uploaded under the name of a verified one, which clears the verification",
        "Verify the CA again, or upload a new generation under a name of its own.",
    )
    .diagnosed("ca-unverified"),
    state("svc-ca-self-attested", Expected::Accept, |w| {
        let line = Line::own(w, "svc-ca-self-attested")?;
        Ok(line.scene(w, [verified(&line.root)], [enabled(&line.root)]))
    })
    .says(
        "the root was marked as verified at its upload, without proof of possession",
        "Nothing to repair: prove possession where the instance is shared or the upload is not your own.",
    ),
    state("svc-only-intermediate-verified", Expected::Accept, |w| {
        let line = Line::own(w, "svc-only-intermediate-verified")?;
        Ok(line.scene(w, [verified(&line.issuing)], [enabled(&line.issuing)]))
    })
    .says(
        "the intermediate is verified and its root is unknown to the instance",
        "Nothing to repair: a verified intermediate is enough.",
    ),
    state("svc-root-verified-group-on-intermediate", Expected::Accept, |w| {
        let line = Line::own(w, "svc-root-verified-group-on-intermediate")?;
        Ok(line.scene(w, [verified(&line.root)], [enabled(&line.issuing)]))
    })
    .says(
        "the root is verified and the group is on the intermediate below it",
        "Nothing to repair as long as the device sends the intermediate: the service has none in store.",
    ),
    state("svc-both-verified-group-on-root", Expected::Accept, |w| {
        let line = Line::own(w, "svc-both-verified-group-on-root")?;
        Ok(line.scene(w, [verified(&line.root), verified(&line.issuing)], [enabled(&line.root)]))
    })
    .says(
        "root and intermediate are both verified and the group is on the root",
        "Nothing to repair: the search goes on above the first verified CA.",
    ),
    state("svc-group-above-verified", Expected::Refused("group-above-verified"), |w| {
        let line = Line::own(w, "svc-group-above-verified")?;
        Ok(line.scene(w, [verified(&line.issuing)], [enabled(&line.root)]))
    })
    .says(
        "the group is on a root that is not verified; only the intermediate below it is",
        "Verify the root, or put the group on the intermediate.",
    )
    .diagnosed("group-above-verified"),
    state("svc-group-on-leaf", Expected::Refused("leaf-is-entry-certificate"), |w| {
        let line = Line::own(w, "svc-group-on-leaf")?;
        let mut scene = line.scene(w, [verified(&line.root)], []);
        scene.additions.own_leaf = Some(TakenFor::Group);
        Ok(scene)
    })
    .says(
        "the device's own certificate was made the certificate of a group",
        "Put the issuing CA into the group, or give the device an individual enrollment.",
    )
    .diagnosed("leaf-uploaded-as-ca"),
    state("svc-group-missing", NO_ENTRY, |w| {
        let line = Line::own(w, "svc-group-missing")?;
        Ok(line.scene(w, [verified(&line.root)], []))
    })
    .says("the CA is verified and no enrollment group is on the chain", "Create a group on one of its CAs.")
    .diagnosed("group-missing"),
    state("svc-group-disabled", Expected::Disabled, |w| {
        w.require_room(1)?;
        let line = w.ca(w.root(), "svc-group-disabled line", |d| d)?;
        let mut scene = w.scene(&line, &[&line, w.root()]);
        scene.additions.groups.push(disabled(&line));
        Ok(scene)
    })
    .says(
        "the enrollment group of the device's line is disabled",
        "Enable the enrollment group, or move the line to an enabled one.",
    )
    .diagnosed("group-disabled"),
    state("svc-group-deleted", NO_ENTRY, |w| {
        let line = Line::own(w, "svc-group-deleted")?;
        Ok(line.scene(w, [verified(&line.root), verified(&line.issuing)], []))
    })
    .says(
        "the group was deleted and there is none on a CA above it",
        "Create the group again; to keep devices out, disable it instead of deleting it.",
    )
    .diagnosed("group-missing"),
    state("svc-group-deleted-parent", Expected::Accept, |w| {
        let line = Line::own(w, "svc-group-deleted-parent")?;
        Ok(line.scene(w, [verified(&line.root)], [enabled(&line.root)]))
    })
    .says(
        "the group of the intermediate was deleted and the root's group takes its devices",
        "Nothing to repair if the root's policy suits them; to keep devices out, disable the nearer group.",
    )
    .diagnosed("group-shadowed"),
    state("svc-group-disabled-parent", Expected::Disabled, |w| {
        let line = Line::own(w, "svc-group-disabled-parent")?;
        Ok(line.scene(w, [verified(&line.root)], [disabled(&line.issuing), enabled(&line.root)]))
    })
    .says(
        "the nearest group is disabled, and it decides although the root's group is enabled",
        "Enable the nearer group, or delete it so that the root's takes over.",
    )
    .diagnosed("group-disabled"),
    state("svc-two-groups", Expected::Accept, |w| {
        let line = Line::own(w, "svc-two-groups")?;
        Ok(line.scene(w, [verified(&line.root)], [enabled(&line.issuing), enabled(&line.root)]))
    })
    .says(
        "there are groups on the root and on the intermediate, and the nearer one takes the device",
        "Nothing to repair: mind that the policy of the root's group does not apply.",
    ),
    state("svc-individual-disabled", Expected::Disabled, |w| {
        Ok(individual(w, HeldCertificate::Presented, false))
    })
    .says(
        "the device's individual enrollment is disabled",
        "Enable the individual enrollment, or delete it to let the device in through its group.",
    )
    .diagnosed("individual-disabled"),
    state("svc-individual-deleted", Expected::Accept, |w| Ok(w.good())).says(
        "the individual enrollment that kept the device out was deleted",
        "Nothing to repair: to keep the device out, disable its enrollment instead of deleting it.",
    ),
    state("svc-individual-over-disabled-group", Expected::Accept, |w| {
        let line = Line::own(w, "svc-individual-over-disabled-group")?;
        let mut scene = line.scene(w, [verified(&line.root)], [disabled(&line.issuing)]);
        scene.additions.individual =
            Some(AddedIndividual { holds: HeldCertificate::Presented, enabled: true });
        Ok(scene)
    })
    .says(
        "the device has an individual enrollment, which goes before its disabled group",
        "Nothing to repair: delete the individual enrollment if the group is to keep the device out.",
    ),
    state("svc-individual-other-cert", Expected::Refused("individual-stale"), |w| {
        Ok(individual(w, HeldCertificate::Older, true))
    })
    .says(
        "the device's individual enrollment holds an older certificate",
        "Put the new certificate into the individual enrollment, at best as secondary before it is used.",
    )
    .diagnosed("individual-stale"),
    state("svc-individual-secondary", Expected::Accept, |w| {
        Ok(individual(w, HeldCertificate::PresentedAsSecondary, true))
    })
    .says(
        "the new certificate is the secondary one of the device's individual enrollment",
        "Nothing to repair: make it the primary one when the old certificate has gone.",
    ),
    // A service does not let a second group on one certificate be created; the judge is asked all the same.
    state("svc-cert-two-entries", Expected::Disabled, |w| {
        let line = Line::own(w, "svc-cert-two-entries")?;
        Ok(line.scene(w, [verified(&line.root)], [enabled(&line.issuing), disabled(&line.issuing)]))
    })
    .offline()
    .says(
        "its CA is in two groups, and the disabled one decides",
        "Keep each CA in one group; remove the certificate from the other.",
    )
    .diagnosed("entry-duplicate"),
    state("svc-secondary-rollover", Expected::Accept, |w| {
        let old = Line::own(w, "svc-secondary-rollover")?;
        let new = Line { issuing: w.ca(&old.root, "svc-secondary-rollover new", |d| d)?, ..old };
        let secondary = Some(new.issuing.certificate.clone());
        Ok(new.scene(w, [verified(&new.root)], [AddedGroup { secondary, ..enabled(&old.issuing) }]))
    })
    .says(
        "its new CA is the secondary one of the group",
        "Nothing to repair: make it the primary one when the last device of the old CA has been renewed.",
    ),
    state("svc-secondary-unverified", NO_VERIFIED_CA, |w| {
        let old = Line::own(w, "svc-secondary-unverified")?;
        let new = Line::own(w, "svc-secondary-unverified new")?;
        let secondary = Some(new.issuing.certificate.clone());
        let group = AddedGroup { secondary, ..enabled(&old.issuing) };
        Ok(new.scene(w, [verified(&old.root), unverified(&new.root)], [group]))
    })
    .says(
        "its new CA is the secondary one of the group and rolls up to nothing that is verified",
        "Verify the new root before devices of it are shipped.",
    )
    .diagnosed("ca-unverified"),
    state("svc-rollover-too-early", NO_ENTRY, |w| {
        let old = Line::own(w, "svc-rollover-too-early")?;
        let new = w.ca(&old.root, "svc-rollover-too-early new", |d| d)?;
        Ok(old.scene(w, [verified(&old.root)], [enabled(&new)]))
    })
    .says(
        "its CA was removed from the group while devices of it are in the field",
        "Put the old CA back as the group's secondary certificate until its devices have been renewed.",
    )
    .diagnosed("group-missing"),
    state("svc-other-tenant", NO_VERIFIED_CA, |w| {
        let line = Line::own(w, "svc-other-tenant")?;
        Ok(line.scene(w, [], []))
    })
    .says(
        "the instance knows no CA of the chain; the id scope may be another instance's",
        "Use the id scope of the instance that holds the CA.",
    )
    .diagnosed("no-verified-ca"),
    state("svc-hijack", NO_VERIFIED_CA, |w| {
        let line = Line::own(w, "svc-hijack")?;
        Ok(line.scene(w, [unverified(&line.issuing)], [enabled(&line.issuing)]))
    })
    .says(
        "the instance's owner configured a CA whose key he does not hold, and could not verify it",
        "Nothing to repair: this is what proof of possession is for. Use your own instance's id scope.",
    ),
    course("svc-limit-ca", NO_VERIFIED_CA)
        .says(
            "the instance holds 25 CA certificates, and one more was not taken",
            "Delete CAs that are no longer used, or use another instance.",
        )
        .diagnosed("limit-ca"),
    course("svc-limit-group", NO_ENTRY)
        .says(
            "the instance holds 100 X.509 groups, and one more was not created",
            "Put groups on CAs further up, delete those that are no longer used, or use another instance.",
        )
        .diagnosed("limit-group"),
    course("svc-cn-moves-group", Expected::Accept).guessed().says(
        "a device that is registered comes back with a chain under another group",
        "Nothing to repair: delete its registration first where the service refuses it.",
    ),
    course("svc-trust-flip", Expected::Accept).says(
        "its CA was verified between connect and register",
        "Nothing to repair: the state at the register decides.",
    ),
];
