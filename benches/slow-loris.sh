#!/usr/bin/env bash
# What stalled connections cost a healthy device: the median time of a registration, of 21, without any and beside
# 2,000 on the same port. Half of those never finish their ClientHello, half never say anything. Everything stays on
# loopback. Ratios travel between machines; times do not.
set -euo pipefail
cd "$(dirname "$0")/.."
stalled=${1:-2000}
repeats=21
work=$(mktemp -d)
mock='' loris=''
finish() {
  for process in $loris $mock; do kill "$process" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
cargo build --release --locked --quiet
rollcall=$PWD/target/release/rollcall
field() { python3 -c 'import json,sys; r=json.load(open(sys.argv[1])); print(eval(sys.argv[2], {"r": r}))' "$@"; }

cd "$work"
"$rollcall" mint ca --out ca --quiet >/dev/null
"$rollcall" mint fleet --ca-cert ca/intermediate-1.pem --ca-key ca/intermediate-1.key.pem --count 1 \
  --registration-id 'dev-{index:05}' --seed 7 --out fleet --quiet >/dev/null
"$rollcall" mock --mqtts-port 0 --https-port 0 --management-port 0 --retry-after 0s --trust-root root.pem --json >ready &
mock=$!
until [ -s ready ]; do sleep 0.1; done
port() { field ready "r['$1'].rsplit(':', 1)[1]"; }
mqtts=$(port mqtts)
export ROLLCALL_ENDPOINT="https://localhost:$(port https)" ROLLCALL_TRUST_ROOT="$work/root.pem"
ROLLCALL_SERVICE_KEY=$(field ready 'r["service_key"]')
export ROLLCALL_SERVICE_KEY
scope=$(field ready 'r["id_scope"]')
"$rollcall" ca upload root --cert ca/root.pem --verified >/dev/null
"$rollcall" group create line-1 --signing-cert ca/intermediate-1.pem >/dev/null

# The sum of the phases: the wait that the service asks for between them is nobody's slowness.
median_ms() {
  for _ in $(seq "$repeats"); do
    "$rollcall" register --host localhost --port "$mqtts" --id-scope "$scope" --trust-root root.pem \
      --cert fleet/dev-00000.chain.pem --key fleet/dev-00000.key.pem --json >one
    field one 'sum(p["us"] for p in r["phases"]) if r["outcome"]["kind"] == "assigned" else r["outcome"]["refused"]'
  done | sort -n | awk '{ all[NR] = $1 } END { printf "%.2f", all[int((NR + 1) / 2)] / 1000 }'
}

# Says when all are open, and holds them until it is killed.
cat >stall.py <<'PY'
import signal, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
held = []
for number in range(count):
    held.append(socket.create_connection(("127.0.0.1", port)))
    if number % 2:
        held[-1].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
print("open", flush=True)
while True:
    # The mock ends them one after the other; each is replaced, so that there are always as many.
    for number, one in enumerate(held):
        one.setblocking(False)
        try:
            ended = not one.recv(1)
        except BlockingIOError:
            continue
        except OSError:
            ended = True
        if ended:
            one.close()
            held[number] = socket.create_connection(("127.0.0.1", port))
    signal.sigtimedwait([], 0.2)
PY

alone=$(median_ms)
(ulimit -n 8192 && exec python3 stall.py "$mqtts" "$stalled") >open &
loris=$!
until [ -s open ]; do
  kill -0 "$loris" || { echo "could not open $stalled connections" >&2; exit 1; }
  sleep 0.1
done
beside=$(median_ms)
kill -0 "$loris"
echo "registration, median of $repeats: $alone ms alone, $beside ms beside $stalled stalled connections"
