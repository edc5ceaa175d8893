#![allow(clippy::all)]
use sim_device::*;
use sim_identity::{Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, Seed};
use sim_identity::fleet::FleetPlan;
use sim_protocol::{IdScope, RegistrationId};
use std::time::Duration;
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    s.lines().find(|l| l.starts_with("Private_Dirty")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) * 10_000.0
}
#[test]
fn weigh() {
    let port: u16 = std::fs::read_to_string("/tmp/weigh.port").unwrap().trim().parse().unwrap();
    let n: usize = std::env::var("N").map_or(4000, |n| n.parse().unwrap());
    let now = std::time::SystemTime::now().into();
    let seed = Seed::from_number(1);
    let plan = HierarchyPlan { name: "test".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let h = Hierarchy::mint(&plan, &seed, now).unwrap();
    let fleet = Fleet::new(&FleetPlan::default(), h.issuing().clone(), seed, now).unwrap();
    let devices: Vec<Device> = (0..n as u64).map(|i| Device { identity: fleet.device(i, RegistrationId::new(format!("dev-{i:06}")).unwrap(), None).unwrap(), session: None, draws: i }).collect();
    let ca = std::fs::read("/tmp/weigh.der").unwrap();
    let goal = if std::env::var("ASSIGN").is_ok() { Goal::Assigned } else { Goal::Connected };
    let ws = std::env::var("WS").is_ok();
    let target = Target { host: "127.0.0.1".into(), port, address: Some(([127,0,0,1], port).into()), server_name: "127.0.0.1".try_into().unwrap(), id_scope: IdScope::new("0ne00000001").unwrap(), transport: if ws { Transport::MqttWs } else { Transport::Mqtt }, tls: base_config(&Trust::Roots(vec![ca]), &Handshake::default()).unwrap(), timeout: Duration::from_secs(60), habits: Habits { goal, ..Default::default() } };
    warm_up(&target.tls);
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async {
        // warm the allocator and runtime
        let r = attempt(&target, &devices[0]).await;
        println!("{:?} {:?}", r.outcome, r.tls);
        let target = std::sync::Arc::new(target);
        let devices = std::sync::Arc::new(devices);
        let (before, c0) = (rss(), cpu());
        let mut set = tokio::task::JoinSet::new();
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(64));
        let ok = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let hold = std::env::var("NOHOLD").is_err();
        for i in 0..n {
            let (t, d, g, ok) = (target.clone(), devices.clone(), gate.clone(), ok.clone());
            let permit = g.acquire_owned().await.unwrap();
            set.spawn(async move {
                if !hold { let a = Box::pin(attempt(&t, &d[i])).await; drop(permit); if matches!(a.outcome, Outcome::Refused(_) | Outcome::Connected) { ok.fetch_add(1, std::sync::atomic::Ordering::Relaxed); } return; }
                let (_, c) = Box::pin(arrive(&t, &d[i])).await;
                drop(permit);
                if let Some(c) = c { ok.fetch_add(1, std::sync::atomic::Ordering::Relaxed); c.hold(Duration::from_secs(3600), Duration::ZERO).await; }
            });
            if !hold { while set.try_join_next().is_some() {} }
        }
        if !hold { while set.join_next().await.is_some() {} }
        else { let _p = gate.acquire_many(64).await.unwrap(); tokio::time::sleep(Duration::from_millis(500)).await; }
        let (after, c1) = (rss(), cpu());
        println!("{} ok, {:.2} KiB/device, {:.1} us/device", ok.load(std::sync::atomic::Ordering::Relaxed), (after - before) as f64 / n as f64, (c1 - c0) / n as f64);
    });
}
