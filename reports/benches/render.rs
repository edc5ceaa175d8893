//! What rendering costs: the record of a million devices over an hour, read and as each of the renderings.
//!
//! `benches/render.sh` holds the program itself against the bounds of time and memory that a report has.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up says so and ends")]

#[path = "render/million.rs"]
mod million;

use divan::{Bencher, black_box};
use reports::Record;

fn main() {
    divan::main();
}

fn record() -> Record {
    Record::from_json(&million::million().to_string()).expect("a record")
}

#[divan::bench]
fn reading(bencher: Bencher<'_, '_>) {
    let text = million::million().to_string();
    bencher.bench_local(|| Record::from_json(black_box(&text)));
}

#[divan::bench]
fn writing(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench_local(|| black_box(&record).to_json());
}

#[divan::bench]
fn page(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench_local(|| reports::page(black_box(&record)));
}

#[divan::bench]
fn summary(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench_local(|| reports::summary(black_box(&record)));
}

#[divan::bench]
fn markdown(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench_local(|| reports::markdown(black_box(&record), None));
}

#[divan::bench]
fn junit(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench_local(|| reports::junit(black_box(&record), None));
}

#[divan::bench]
fn csv(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench_local(|| reports::series(black_box(&record)));
}
