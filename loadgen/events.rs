//! What the operator does while devices arrive: waits for each event's moment, does it to the run's own mock, and says
//! what came of it.
//!
//! Groups and CA certificates are changed over the same REST calls as for Azure; a hub is taken away in the mock itself:
//! the operator has no call for that.

use crate::exit::Failure;
use crate::stage::Stage;
use scenarios::{Action, Event};
use sim_operator::{Changes, Entry};
use sim_protocol::EnrollmentGroupId;
use sim_protocol::attestation::ProvisioningStatus;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// An event that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// When the service had answered, from the start of the run.
    pub at: Duration,
    /// What was done: a phrase, past tense.
    pub what: String,
    /// Why it did not work.
    pub failed: Option<String>,
}

/// Plays events, which are in the order of their moments, counted from `start`. Ends when all are done, or when told to
/// stop: events whose moment has not come are then left out. An event that fails is told of, and the next one is
/// played all the same. `tell` narrates each.
pub async fn play(
    events: &[Event],
    stage: &Stage,
    start: Instant,
    stop: &CancellationToken,
    tell: &(dyn Fn(String) + Sync),
) -> Vec<Done> {
    let mut all = Vec::new();
    for event in events {
        // A moment that no clock can hold never comes.
        let Some(moment) = start.checked_add(event.at) else { break };
        let moment = tokio::time::Instant::from_std(moment);
        if stop.run_until_cancelled(tokio::time::sleep_until(moment)).await.is_none() {
            break;
        }
        let failed = match stop.run_until_cancelled(act(&event.action, stage)).await {
            Some(acted) => acted.err().map(|failure| failure.message),
            None => Some("the run ended before the service had answered".to_owned()),
        };
        let at = sim_device::now().saturating_duration_since(start);
        let done = Done { at, what: told(&event.action), failed };
        tell(line(&done));
        all.push(done);
    }
    all
}

fn line(Done { at, what, failed }: &Done) -> String {
    let moment = format!("{:.1} s into the run", at.as_secs_f64());
    match failed {
        None => format!("event     {what}, {moment}"),
        Some(why) => format!("event     not done: {what}, {moment}: {why}"),
    }
}

/// The event in words.
fn told(action: &Action) -> String {
    match action {
        Action::DisableGroup(name) => format!("group `{name}` disabled"),
        Action::EnableGroup(name) => format!("group `{name}` enabled"),
        Action::DeleteCa(root) => format!("CA certificate of `{root}` deleted"),
        Action::UnlinkHub(hub) => format!("hub `{hub}` unlinked"),
    }
}

async fn act(action: &Action, stage: &Stage) -> Result<(), Failure> {
    match action {
        Action::DisableGroup(name) => set_status(stage, name, ProvisioningStatus::Disabled).await,
        Action::EnableGroup(name) => set_status(stage, name, ProvisioningStatus::Enabled).await,
        Action::DeleteCa(root) => {
            let missing = || Failure::usage(format!("the fleet has no root `{root}`"));
            let name = stage.root(root).ok_or_else(missing)?;
            Ok(stage.operator().delete_certificate(name).await?)
        }
        Action::UnlinkHub(hub) => match stage.mock.instance().registrar().unlink_hub(hub) {
            true => Ok(()),
            false => Err(Failure::usage(format!("no hub `{hub}` is linked"))),
        },
    }
}

/// Reads the group, changes its status alone and writes it back, unless somebody else changed it meanwhile.
async fn set_status(
    stage: &Stage,
    name: &EnrollmentGroupId,
    status: ProvisioningStatus,
) -> Result<(), Failure> {
    let changes = Changes { provisioning_status: Some(status), ..Changes::default() };
    let group = Entry::Group(name.clone());
    stage.operator().change(&group, &changes, crate::cli::now()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::plan::fixture::{MINTED, one_of, scenario, with_events, with_factories};
    use crate::plan::{Devices, Fate};
    use crate::stage::tests::{register, staged};
    use scenarios::Scenario;
    use sim_identity::defect::Family;
    use sim_identity::{Defect, DeviceIdentity};
    use std::sync::Mutex;

    fn group(name: &str) -> EnrollmentGroupId {
        name.parse().expect("a name")
    }

    /// Plays the scenario's events from now on.
    async fn played(scenario: &Scenario, stage: &Stage) -> Vec<Done> {
        play(&scenario.events, stage, sim_device::now(), &CancellationToken::new(), &|_| {}).await
    }

    /// What becomes of a device that registers now.
    fn fate(device: &DeviceIdentity, stage: &Stage) -> Fate {
        match register(stage, device).verdict {
            "accept" => Fate::Assigned,
            "disabled" => Fate::Disabled,
            _ => Fate::Refused,
        }
    }

    fn good_device(devices: &Devices, factory: usize) -> DeviceIdentity {
        devices.device(one_of(devices, factory)).expect("a device")
    }

    #[tokio::test]
    async fn an_event_changes_what_becomes_of_those_it_concerns_and_of_nobody_else() {
        use Fate::{Assigned, Disabled, Refused};
        let plain = with_factories(scenario(MINTED, "[target.mock]", &[]));
        for (actions, becomes) in [
            (vec![Action::DisableGroup(group("line-b"))], [Assigned, Disabled, Assigned]),
            (
                vec![Action::DisableGroup(group("line-b")), Action::EnableGroup(group("line-b"))],
                [Assigned, Assigned, Assigned],
            ),
            (vec![Action::DeleteCa("east".into())], [Refused, Refused, Assigned]),
            (vec![Action::DeleteCa("line-c".into())], [Assigned, Assigned, Refused]),
        ] {
            let scenario = with_events(plain.clone(), &actions);
            let (devices, stage) = staged(&scenario).await.expect("a stage");
            let one = [0, 1, 2].map(|factory| good_device(&devices, factory));
            assert_eq!(one.each_ref().map(|device| fate(device, &stage)), [Assigned; 3], "before");
            let done = played(&scenario, &stage).await;
            assert!(done.iter().all(|done| done.failed.is_none()), "{done:?}");
            assert_eq!(done.len(), actions.len());
            assert_eq!(one.each_ref().map(|device| fate(device, &stage)), becomes, "{actions:?}");
        }
    }

    #[tokio::test]
    async fn the_only_root_is_called_fleet() {
        let scenario =
            with_events(scenario(MINTED, "[target.mock]", &[]), &[Action::DeleteCa("fleet".into())]);
        let (devices, stage) = staged(&scenario).await.expect("a stage");
        let done = played(&scenario, &stage).await;
        assert_eq!(done.iter().map(|done| &done.failed).collect::<Vec<_>>(), [&None]);
        assert_eq!(fate(&good_device(&devices, 0), &stage), Fate::Refused);
    }

    #[tokio::test]
    async fn bad_devices_end_as_they_are_meant_to_whatever_the_operator_does() {
        // Odd keys take long to make, and no event makes a difference to them.
        let quick = |d: &Defect| d.is_presentable() && d.family() != Family::Algorithm;
        let all: Vec<&str> = Defect::all().filter(quick).map(Defect::id).collect();
        let plain = with_factories(scenario(MINTED, "[target.mock]", &all));
        let actions = [Action::DisableGroup(group("line-a")), Action::DeleteCa("east".into())];
        let scenario = with_events(plain, &actions);
        let (devices, stage) = staged(&scenario).await.expect("a stage");
        let settled = devices.defects.all().filter_map(|(index, defect)| {
            let meant = devices.fate_of_defect(defect, true);
            (meant != Fate::Open).then(|| (defect, meant, devices.device(index).expect("a device")))
        });
        let settled: Vec<_> = settled.collect();
        assert!((20..all.len() - 20).contains(&settled.len()), "{} of {}", settled.len(), all.len());
        for event in &scenario.events {
            act(&event.action, &stage).await.expect("done");
            for (defect, meant, device) in &settled {
                assert_eq!(fate(device, &stage), *meant, "{defect} after {:?}", event.action);
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_and_the_next_event_is_played_all_the_same() {
        let actions = [
            Action::DisableGroup(group("nobody")),
            Action::DeleteCa("nobody".into()),
            Action::UnlinkHub("nobody.azure-devices.net".into()),
            Action::UnlinkHub("hub-1.azure-devices.net".into()),
        ];
        let scenario = with_events(scenario(MINTED, "[target.mock]", &[]), &actions);
        let (_, stage) = staged(&scenario).await.expect("a stage");
        let lines = Mutex::new(0);
        let count = |_| *lines.lock().expect("a count") += 1;
        let done = play(&scenario.events, &stage, sim_device::now(), &CancellationToken::new(), &count).await;
        let failed: Vec<bool> = done.iter().map(|done| done.failed.is_some()).collect();
        assert_eq!(failed, [true, true, true, false], "{done:?}");
        assert_eq!(lines.into_inner().expect("a count"), 4);
        let exit = act(&actions[0], &stage).await.map_err(|failure| failure.exit);
        assert_eq!(exit, Err(Exit::Refused), "by the service itself");
    }

    #[tokio::test]
    async fn events_wait_for_their_moment_and_end_with_the_run() {
        let mut scenario = with_events(
            scenario(MINTED, "[target.mock]", &[]),
            &[Action::DisableGroup(group("fleet")), Action::EnableGroup(group("fleet"))],
        );
        let (soon, never) = (Duration::from_millis(60), Duration::MAX);
        let (_, stage) = staged(&scenario).await.expect("a stage");
        for late in [Duration::from_secs(3600), never] {
            (scenario.events[0].at, scenario.events[1].at) = (soon, late);
            let stop = CancellationToken::new();
            let heard = |_: String| stop.cancel();
            let done = play(&scenario.events, &stage, sim_device::now(), &stop, &heard).await;
            assert_eq!(done.len(), 1, "the other never came");
            assert!(done[0].at >= soon && done[0].failed.is_none(), "{done:?}");
        }
        let (stop, start) = (CancellationToken::new(), sim_device::now());
        stop.cancel();
        assert_eq!(play(&scenario.events, &stage, start, &stop, &|_| {}).await, []);
    }
}
