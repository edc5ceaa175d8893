#!/usr/bin/env bash
# Renders the record of a million devices over an hour as a user would, and fails where the page takes more than 2 s,
# 200 MiB of memory, or 500,000 bytes. `cargo bench -p reports --bench render` tells what each rendering takes.
#
#     benches/render.sh [RUN.JSON]     another record, of a run of one's own
set -euo pipefail
cd "$(dirname "$0")/.."
record=${1-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --locked --quiet
if [ -n "$record" ]; then
  cp "$record" "$work/run.json"
else
  cargo run --quiet --locked -p reports --example million >"$work/run.json"
fi
ended=0
/usr/bin/time -f '%e %M' -o "$work/time" target/release/rollcall report "$work" --quiet >/dev/null || ended=$?
# The record may be of a run that failed; then so does this command, having rendered it.
[ -s "$work/run.html" ] || { echo "no page: exit status $ended" >&2; exit 1; }
tail -n 1 "$work/time" | awk -v record="$(stat -c %s "$work/run.json")" -v page="$(stat -c %s "$work/run.html")" '
  { printf "record of %d bytes: page of %d bytes in %.2f s and %d MiB\n", record, page, $1, $2 / 1024
    exit !($1 <= 2 && $2 <= 200 * 1024 && page <= 500000) }'
