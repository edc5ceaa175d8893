#!/usr/bin/env python3
"""Measures what the load engine costs, row by row, on this machine. Everything stays on loopback.

    benches/goals.py            every row but the longest
    benches/goals.py P4 P9      these rows
    benches/goals.py long       a run of a million devices, and 50,000 held at once

Ratios travel between machines; rates do not. Each ratio is made from figures of one run of this script.
"""

import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROLLCALL = os.path.join(ROOT, "target", "release", "rollcall")
TICK = os.sysconf("SC_CLK_TCK")


def sh(*words, **more):
    return subprocess.run(words, check=True, text=True, capture_output=True, **more).stdout


class Mock:
    """A mock in a process of its own, with a root that is verified and a group on an intermediate."""

    def __init__(self, work, *more):
        self.work = work
        self.root = os.path.join(work, f"mock-{time.monotonic_ns()}.pem")
        ports = ["--mqtts-port", "0", "--https-port", "0", "--management-port", "0"]
        words = [ROLLCALL, "mock", *ports, "--trust-root", self.root, "--json", *more]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.environment = {
            **os.environ,
            "ROLLCALL_ENDPOINT": f"https://localhost:{self.port('https')}",
            "ROLLCALL_TRUST_ROOT": self.root,
            "ROLLCALL_SERVICE_KEY": self.ready["service_key"],
            "ROLLCALL_MANAGEMENT_TOKEN": self.ready["management_token"],
        }
        ca = os.path.join(work, "ca")
        if not os.path.exists(ca):
            sh(ROLLCALL, "mint", "ca", "--out", ca, "--quiet")
        self.operate("ca", "upload", "root", "--cert", f"{ca}/root.pem", "--verified")
        self.operate("group", "create", "bench", "--signing-cert", f"{ca}/intermediate-1.pem")

    def operate(self, *words):
        sh(ROLLCALL, *words, env=self.environment)

    def port(self, name):
        return self.ready[name].rsplit(":", 1)[1]

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        return anonymous(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def scenario(self, name, devices, load, device="", more=""):
        path = os.path.join(self.work, f"{name}.toml")
        with open(path, "w") as file:
            file.write(f"""name = "{name}"
[fleet]
devices = {devices}
registration_id = "{name}-{{index:07}}"
{more}
[fleet.authority.files]
certificate = "ca/intermediate-1.pem"
key = "ca/intermediate-1.key.pem"
[device]
tls = "1.3"
{device}
[target.service]
host = "127.0.0.1"
port = {self.port("mqtts")}
id_scope = "{self.ready["id_scope"]}"
trust_root = "{self.root}"
management = "{self.ready["management"]}"
[limits]
generator = "report"
{load}
""")
        return path

    def run(self, path, *more, during=None):
        """Runs a scenario: its record, the processor time of client and mock in seconds, and peaks of memory."""
        out = tempfile.mkdtemp(dir=self.work)
        words = [ROLLCALL, "run", path, "--out", out, "--quiet", *more]
        before, mock = resource.getrusage(resource.RUSAGE_CHILDREN), self.cpu()
        process = subprocess.Popen(words, env=self.environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while during and process.poll() is None:
            during(process.pid)
            time.sleep(0.2)
        status = process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if status:
            sys.exit(f"{' '.join(words)} ended with {status}")
        with open(os.path.join(out, "run.json")) as file:
            record = json.load(file)
        client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return record, client, self.cpu() - mock


def anonymous(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return int(re.search(r"RssAnon:\s+(\d+)", status.read())[1])
    except (OSError, TypeError):
        return 0


def row(name, must, text):
    print(f"{name:4} must {must:24} {text}", flush=True)


CLOSED = "[load.closed]\nin_flight = 64"


def floors():
    """Microseconds of one provisioning: full verification; server chain and path known."""
    told = sh("cargo", "bench", "--quiet", "--locked", "-p", "sim-dps", "--bench", "floor", cwd=ROOT)
    print(told)
    rows = r"^(?:full verification|chain and path known)\s.*?([\d.]+)$"
    return [float(found) for found in re.findall(rows, told, re.MULTILINE)]


def provisioning(work):
    """P1, P2, P3: one provisioning beside its floor."""
    full, known = floors()
    for name, rate, verify, floor in [("P1", 3400, "always", full), ("P2", 5000, "once", known)]:
        costs, rates = [], []
        for turn in range(3):
            with Mock(work, "--retry-after", "0s") as mock:
                path = mock.scenario(f"p-{verify}-{turn}", 20_000, CLOSED, f'verify_server = "{verify}"')
                record, client, service = mock.run(path)
            costs.append(((client - record["minting_seconds"]) * 1e6 / 20_000, service * 1e6 / 20_000))
            rates.append(record["throughput"]["per_second"])
        client, service = sorted(costs, key=sum)[1]
        row(name, "<= 1.4 x floor", f"{(client + service) / floor:.2f} x: client {client:.0f} + mock {service:.0f} us, "
            f"floor {floor:.0f} us (verify_server = {verify})")
        row("P3", f">= {rate}/s", f"{sorted(rates)[1]:.0f}/s on {os.cpu_count()} cores, both sides")


def handshakes(work):
    """P4: TLS and CONNECT beside `openssl s_time`, which makes TLS alone, with one certificate for all."""
    with Mock(work) as mock:
        path = mock.scenario("p4", 5_000, CLOSED, 'goal = "connected"')
        record, client, _ = mock.run(path)
        ours = (client - record["minting_seconds"]) / record["finished"]
        fleet = os.path.join(work, "one")
        sh(ROLLCALL, "mint", "fleet", "--ca-cert", f"{work}/ca/intermediate-1.pem", "--ca-key",
           f"{work}/ca/intermediate-1.key.pem", "--count", "1", "--seed", "1",
           "--registration-id", "one-{index}", "--out", fleet)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = sh("openssl", "s_time", "-connect", f"127.0.0.1:{mock.port('mqtts')}", "-new", "-time", "8", "-CAfile",
                  mock.root, "-cert", f"{fleet}/one-0.chain.pem", "-key", f"{fleet}/one-0.key.pem")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        made = int(re.search(r"(\d+) connections in \d+ real", told)[1])
        theirs = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / made
    row("P4", "<= 1/2.5 of s_time", f"{ours / theirs:.3f} = 1/{theirs / ours:.1f}: {ours * 1e6:.0f} us a connection "
        f"with CONNECT, {record['throughput']['per_second']:.0f}/s; openssl s_time {theirs * 1e6:.0f} us, "
        f"{made / 8:.0f}/s, one process each")


def held(work):
    """P6: memory of a device that stays connected, as the difference of two numbers of devices."""
    peaks = []
    for devices in [2_000, 12_000]:
        with Mock(work, "--retry-after", "0s") as mock:
            path = mock.scenario(f"held-{devices}", devices, "[load.open]\nrate = 800\nmax_in_flight = 1000",
                                 "[device.hold]\nlasts = \"25s\"\nkeep_alive = \"60s\"")
            most = {"client": 0, "mock": 0}

            def look(pid):
                most["client"] = max(most["client"], anonymous(pid))
                most["mock"] = max(most["mock"], mock.memory())

            record, _, _ = mock.run(path, during=look)
            peaks.append((record["held"]["peak"], most["client"], most["mock"]))
    (few, c1, m1), (many, c2, m2) = peaks
    row("P6", "<= 12 / 15 KiB", f"client {(c2 - c1) / (many - few):.1f} KiB (certificate and key included), "
        f"mock {(m2 - m1) / (many - few):.1f} KiB a device, {few} and {many} held at once")


def flat(work):
    """P7: processor time of a device, at 100,000 and at 1,000."""
    with Mock(work, "--retry-after", "0s") as mock:
        small = 0
        for turn in range(20):
            record, client, service = mock.run(mock.scenario(f"few-{turn}", 1_000, CLOSED))
            small += (record["generator"]["cpu_seconds_client"] + service) / 20_000
    with Mock(work, "--retry-after", "0s") as mock:
        record, client, service = mock.run(mock.scenario("many", 100_000, CLOSED))
        large = (record["generator"]["cpu_seconds_client"] + service) / 100_000
    row("P7", "<= 1.05", f"{large / small:.2f}: {large * 1e6:.0f} us at 100,000 devices, {small * 1e6:.0f} us at 1,000")


def lateness(work):
    """P9: how late arrivals are started at 1,000 a second."""
    with Mock(work, "--retry-after", "0s") as mock:
        record, client, _ = mock.run(mock.scenario("late", 15_000, "[load.open]\nrate = 1000\nmax_in_flight = 2000"))
    late = record["clocks"]["lateness"]
    row("P9", "p99 <= 3 ms", f"p50 {late['p50_us']} us, p99 {late['p99_us']} us; the generator was busy "
        f"{100 * (record['generator']['cpu_share'] or 0):.0f} % of its threads' time")


def start_up(work):
    """P10: from the start of the program to the first device's first byte."""
    with Mock(work) as mock:
        path = mock.scenario("start", 50, "[load.closed]\nin_flight = 1")
    listener = socket.create_server(("127.0.0.1", 0))
    with open(path) as file:
        text = re.sub(r"port = \d+", f"port = {listener.getsockname()[1]}", file.read())
    with open(path, "w") as file:
        file.write(re.sub(r"management = .*", "", text))
    spent = []
    for _ in range(9):
        first = []

        def serve():
            listener.accept()[0].close()
            connection, _ = listener.accept()
            connection.recv(1)
            first.append(time.monotonic())
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        begun = time.monotonic()
        process = subprocess.Popen([ROLLCALL, "run", path, "--out", tempfile.mkdtemp(dir=work), "--quiet"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        thread.join()
        process.kill()
        process.wait()
        spent.append((first[0] - begun) * 1e3)
    row("P10", "<= 80 ms", f"median {sorted(spent)[4]:.0f} ms, {min(spent):.0f} to {max(spent):.0f} ms")


def measuring(work):
    """P11: what journal and progress cost, in turns."""
    costs = {True: [], False: []}
    for turn in range(4):
        for whole in [True, False]:
            with Mock(work, "--retry-after", "0s") as mock:
                more = ["--progress", "json"] if whole else ["--no-journal", "--progress", "none"]
                record, client, _ = mock.run(mock.scenario(f"m-{turn}-{whole}", 20_000, CLOSED), *more)
            costs[whole].append((client - record["minting_seconds"]) * 1e6 / 20_000)
    with_all, without = sorted(costs[True])[1], sorted(costs[False])[1]
    row("P11", "<= 5 %", f"{100 * (with_all / without - 1):.1f} % for journal and progress "
        f"({with_all:.0f} and {without:.0f} us of the client a device); recorders: cargo bench --bench measure")


def million(work):
    """P8: the peak memory of a run of a million devices."""
    with Mock(work, "--retry-after", "0s") as mock:
        load = "[load.closed]\nin_flight = 1000"
        record, client, _ = mock.run(mock.scenario("million", 1_000_000, load))
    row("P8", "<= 400 MiB", f"{record['generator']['peak_memory_bytes'] / 2**20:.0f} MiB, 1,000 in flight, "
        f"{record['wall_seconds']:.0f} s, {record['throughput']['per_second']:.0f}/s, verdict {record['verdict']['kind']}")


def crowd(work):
    """P12: devices held at once, by several processes from several addresses."""
    pairs, each = 3, 17_000
    mocks = [Mock(work, "--retry-after", "0s") for _ in range(pairs)]
    processes = []
    for number, mock in enumerate(mocks):
        path = mock.scenario(f"crowd-{number}", each, "[load.open]\nrate = 400\nmax_in_flight = 1000",
                             "[device.hold]\nlasts = \"70s\"\nkeep_alive = \"60s\"")
        out = tempfile.mkdtemp(dir=work)
        addresses = f"127.0.{number + 1}.1-127.0.{number + 1}.4"
        words = [ROLLCALL, "run", path, "--out", out, "--quiet", "--source-address", addresses]
        processes.append((subprocess.Popen(words, env=mock.environment, stdout=subprocess.DEVNULL), out))
    most = memory = 0
    while any(process.poll() is None for process, _ in processes):
        with open("/proc/net/sockstat") as file:
            most = max(most, int(re.search(r"TCP: inuse (\d+)", file.read())[1]) // 2)
        memory = max(memory, sum(anonymous(process.pid) for process, _ in processes) + sum(m.memory() for m in mocks))
        time.sleep(0.5)
    records = []
    for process, out in processes:
        with open(os.path.join(out, "run.json")) as file:
            records.append(json.load(file))
    for mock in mocks:
        mock.__exit__()
    kept = sum(record["held"]["kept"] for record in records)
    row("P12", ">= 50,000", f"{most} at once, {kept} of {pairs * each} kept, {memory / 2**20:.1f} GiB for all processes")


ROWS = {"P1": provisioning, "P4": handshakes, "P6": held, "P7": flat, "P9": lateness, "P10": start_up,
        "P11": measuring, "P8": million, "P12": crowd}
LONG = {"P8", "P12"}


def main():
    asked = sys.argv[1:]
    unknown = [name for name in asked if name not in ROWS and name != "long"]
    if unknown:
        sys.exit(f"no such row: {' '.join(unknown)}; there are {' '.join(ROWS)} and long")
    sh("cargo", "build", "--release", "--locked", "--quiet", cwd=ROOT)
    with tempfile.TemporaryDirectory() as work:
        for name, measure in ROWS.items():
            if name in asked or ("long" in asked and name in LONG) or (not asked and name not in LONG):
                measure(work)


main()
