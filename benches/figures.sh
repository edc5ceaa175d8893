#!/usr/bin/env bash
# Makes the figures that README quotes, on this machine: minting, provisioning end to end, memory per connected device.
# Everything stays on loopback. Ratios travel between machines; rates do not.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
mock=
trap '[ -z "$mock" ] || kill "$mock" 2>/dev/null || true; rm -rf "$work"' EXIT
cargo build --release --locked --quiet
rollcall=$PWD/target/release/rollcall
field() { python3 -c 'import json,sys; r=json.load(open(sys.argv[1])); print(eval(sys.argv[2], {"r": r}))' "$@"; }

echo "== minting: P-256 leaves beside their bound, one key derived and one signature made"
cargo bench --quiet --locked -p sim-identity --bench mint 2>/dev/null | grep -vE "^Timer|^$"

echo "== provisioning: own leaf each, TLS 1.3, P-256, CONNECT to assigned, mock in the same process, five runs"
for chain in always once; do
  rates=()
  for _ in 1 2 3 4 5; do
    "$rollcall" run demo --set device.verify_server=$chain --set device.tls=1.3 --set load.closed.in_flight=64 \
      --out "$work/run" --quiet >/dev/null
    rates+=("$(field "$work/run/run.json" 'round(r["throughput"]["per_second"])')")
  done
  printf 'verify_server = %-6s  devices/s, sorted: %s\n' "$chain" "$(printf '%s\n' "${rates[@]}" | sort -n | paste -sd' ')"
done

echo "== the mock's core: registrations by certificate beside their bound, flat in what is kept; the weight of a record"
cargo bench --quiet --locked -p sim-dps --bench registrations 2>/dev/null | grep -vE "^Timer|^$"

serve() { # more flags of the mock
  rm -f "$work/ready"
  "$rollcall" mock --mqtts-port 0 --https-port 0 --management-port 0 --trust-root "$work/root.pem" --json "$@" \
    >"$work/ready" &
  mock=$!
  until [ -s "$work/ready" ]; do sleep 0.1; done
  export ROLLCALL_ENDPOINT="https://localhost:$(port https)" ROLLCALL_TRUST_ROOT="$work/root.pem"
  ROLLCALL_SERVICE_KEY=$(field "$work/ready" 'r["service_key"]')
  ROLLCALL_MANAGEMENT_TOKEN=$(field "$work/ready" 'r["management_token"]')
  export ROLLCALL_SERVICE_KEY ROLLCALL_MANAGEMENT_TOKEN
  "$rollcall" ca upload root --cert "$work/ca/root.pem" --verified >/dev/null
  "$rollcall" group create held --signing-cert "$work/ca/intermediate-1.pem" >/dev/null
}
port() { field "$work/ready" "r['$1'].rsplit(':', 1)[1]"; }
scenario() { # name, devices, load
  cat >"$work/$1.toml" <<TOML
name = "$1"
[fleet]
devices = $2
registration_id = "$1-$2-{index:07}"
[fleet.authority.files]
certificate = "ca/intermediate-1.pem"
key = "ca/intermediate-1.key.pem"
[target.service]
host = "127.0.0.1"
port = $(port mqtts)
id_scope = "0ne00000001"
trust_root = "root.pem"
management = "$(field "$work/ready" 'r["management"]')"
$3
TOML
}

"$rollcall" mint ca --out "$work/ca" --quiet >/dev/null
echo "== the mock by itself, full handshakes over TLS 1.3: its processor time, in memory and with a state file, in turns"
ticks() { awk '{ print $14 + $15 }' "/proc/$mock/stat"; }
for turn in 1 2 3; do
  for kind in memory state; do
    if [ "$kind" = state ]; then serve --retry-after 0s --state "$work/state-$turn.db"; else serve --retry-after 0s; fi
    scenario "$kind" 20000 $'[load.closed]\nin_flight = 64'
    before=$(ticks)
    "$rollcall" run "$work/$kind.toml" --out "$work/run" --quiet >/dev/null
    spent=$(($(ticks) - before))
    printf '%-7s %s registrations a second, %s a second of the mock'"'"'s processor time\n' "$kind" \
      "$(field "$work/run/run.json" 'round(r["throughput"]["per_second"])')" \
      "$(python3 -c "print(round(20000 * $(getconf CLK_TCK) / $spent))")"
    kill "$mock"; wait "$mock" 2>/dev/null || true
  done
done

echo "== memory: devices arriving at 1,000/s, connected and waiting, client and mock in processes of their own"
serve --retry-after 30s --assign-delay 30s
anonymous() { awk '/^RssAnon/ { print $2 }' "/proc/$1/status"; }
held() { # devices
  scenario held "$1" $'[load.open]\nrate = 1000\nmax_in_flight = '"$1"
  "$rollcall" run "$work/held.toml" --out "$work/held" --quiet >/dev/null &
  local client=$! server_most=0 client_most=0 now
  while kill -0 "$client" 2>/dev/null; do
    now=$(anonymous "$client" 2>/dev/null || echo 0); [ "${now:-0}" -le "$client_most" ] || client_most=$now
    now=$(anonymous "$mock"); [ "$now" -le "$server_most" ] || server_most=$now
    sleep 0.2
  done
  wait "$client"
  echo "$client_most $server_most"
}
read -r c1 s1 < <(held 1000)
read -r c2 s2 < <(held 6000)
echo "client: $(python3 -c "print(round(($c2-$c1)/5000, 1))") KiB per connected device, minted identity included"
echo "mock:   $(python3 -c "print(round(($s2-$s1)/5000, 1))") KiB per connected device, registration included"
