//! The page of a report in Debian's Chromium, opened from the disk without a network, and judged by `axe-core`.
//!
//! `tests/browser/report.mjs` opens the page in every way and says what it saw; what is to be seen is told here.

#[path = "../../reports/benches/render/million.rs"]
mod million;

use crate::npm;
use crate::world::{World, finish_within, processors, skip};
use million::million;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/report.mjs");
const PACKAGE: &str = include_str!("../browser/package.json");
const LOCK: &str = include_str!("../browser/package-lock.json");

/// Where Debian has it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// A page is opened nine times, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A report has these many sections, whatever was run.
const SECTIONS: u64 = 22;

/// The most a page may weigh.
const MOST_BYTES: u64 = 500_000;

/// The browser, and the packages that drive it.
#[derive(Debug)]
struct Browser {
    modules: PathBuf,
}

impl Browser {
    /// None, said aloud, where it is not installed.
    fn find(test: &str) -> Option<&'static Browser> {
        static BROWSER: OnceLock<Result<Browser, String>> = OnceLock::new();
        let found = BROWSER.get_or_init(|| {
            if !Path::new(CHROMIUM).is_file() {
                return Err(format!("there is no {CHROMIUM}"));
            }
            Ok(Browser { modules: npm::modules("browser", PACKAGE, LOCK)? })
        });
        match found {
            Ok(browser) => Some(browser),
            Err(why) => {
                skip(test, "chromium", why);
                None
            }
        }
    }

    /// Opens the page of this name in every way.
    #[track_caller]
    fn open(&self, world: &World, page: &str) -> Seen {
        // Pages that are opened beside others' loads take their time.
        let _alone = processors();
        let mut command = world.command("node");
        command.env("NODE_PATH", &self.modules).env("CHROMIUM", CHROMIUM);
        command.arg(SCRIPT).arg(world.path(page)).arg("--json");
        let finished = finish_within(command, PATIENCE);
        assert!(matches!(finished.code, Some(0 | 3)), "{finished}");
        Seen(finished.json())
    }
}

/// What was seen of a page.
struct Seen(Value);

impl Seen {
    #[track_caller]
    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {}", self.0))
    }

    #[track_caller]
    fn list(&self, pointer: &str) -> &[Value] {
        let list = self.0.pointer(pointer).and_then(Value::as_array);
        list.unwrap_or_else(|| panic!("no list at {pointer}: {}", self.0))
    }

    /// What the rules of accessibility find serious.
    fn serious(&self) -> Vec<&Value> {
        let is_serious = |found: &&Value| matches!(found["impact"].as_str(), Some("serious" | "critical"));
        self.list("/axe/violations").iter().filter(is_serious).collect()
    }

    /// Asserts that all of the page is there, on every screen and on paper, and that it asked for nothing.
    #[track_caller]
    fn is_sound(&self) {
        for pointer in ["/requests", "/policy_violations", "/console_errors", "/wrong"] {
            assert_eq!(self.list(pointer), [] as [Value; 0], "{pointer}");
        }
        assert_eq!(self.serious(), [] as [&Value; 0]);
        assert_eq!(self.number("/sections"), SECTIONS);
        assert!(self.number("/bytes") <= MOST_BYTES, "{} bytes", self.number("/bytes"));
        for pointer in ["/axe/passed", "/tab_stops", "/printed_pages"] {
            assert!(self.number(pointer) > 0, "{pointer}: {}", self.0);
        }
    }
}

#[test]
fn the_report_of_a_three_second_run_opens_in_a_browser_and_asks_for_nothing() {
    let test = "the_report_of_a_three_second_run_opens_in_a_browser_and_asks_for_nothing";
    let Some(browser) = Browser::find(test) else { return };
    let world = World::new();
    // Throttled for a second, and let in within the next two.
    let short = "--set fleet.devices=60 --set target.mock.fault.1.until=1s";
    let told = world.rollcall(&format!("run retry-storm-jitter {short} --out run --progress none"));
    assert!(world.path("run/run.html").is_file(), "{told}");
    browser.open(&world, "run/run.html").is_sound();
}

#[test]
fn the_report_of_a_million_devices_opens_in_a_browser_and_asks_for_nothing() {
    let test = "the_report_of_a_million_devices_opens_in_a_browser_and_asks_for_nothing";
    let Some(browser) = Browser::find(test) else { return };
    let world = World::new();
    std::fs::create_dir(world.path("million")).expect("a directory");
    world.write("million/run.json", million().to_string());
    world.rollcall("report million").exits(0);
    browser.open(&world, "million/run.html").is_sound();
}

#[test]
fn a_page_that_asks_for_something_or_cannot_be_used_is_told_from_a_sound_one() {
    const POLICY: &str = r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'">"#;
    let test = "a_page_that_asks_for_something_or_cannot_be_used_is_told_from_a_sound_one";
    let Some(browser) = Browser::find(test) else { return };
    let world = World::new();
    for (policy, pointers) in
        [("", ["/requests", "/wrong"]), (POLICY, ["/policy_violations", "/console_errors"])]
    {
        world.write(
            "page.html",
            format!(
                "<!doctype html><html lang=\"en\"><head>{policy}<title>t</title></head><body><main>\
                 <img src=\"near.png\"><script>throw new Error()</script></main></body></html>"
            ),
        );
        let seen = browser.open(&world, "page.html");
        for pointer in pointers {
            assert_ne!(seen.list(pointer), [] as [Value; 0], "{pointer}: {}", seen.0);
        }
        assert_ne!(seen.serious(), [] as [&Value; 0], "an image without a text: {}", seen.0);
    }
}
