"""Kills a mock under load, round after round, and looks for what it had acknowledged.

In every round the mock is started on the same state file, threads write to it without a pause, and it gets a SIGKILL
at a moment drawn from the seed. A write counts as acknowledged once its answer was read to the end. After a restart
every record must be as its last acknowledged write left it; where a later write was on its way when the mock died,
that one may have won, as nobody knows.

Prints one JSON document: how many writes of each kind were acknowledged, how many were on their way at a kill, and
what was lost. Exit status: 0 it came to the end, whatever was lost; 1 anything else.
"""

import argparse
import base64
import collections
import http.client
import json
import os
import random
import ssl
import subprocess
import threading
import time

from provision_https import Connection, Device, derived, token, trust

FLEET_GROUP, HOT_GROUP = "fleet", "hot"
GROUP_KEY = base64.b64encode(bytes(range(64))).decode()
SERVICE_KEY = base64.b64encode(bytes(range(1, 65))).decode()
CERTIFICATES = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rollcall"
    "/providers/Microsoft.Devices/provisioningServices/rollcall/certificates"
)
RESOURCE_API = "2022-12-12"
DEAD = (http.client.HTTPException, ssl.SSLError, OSError)
GONE = None


class Refusal(Exception):
    """The mock answered, and not with what was asked for."""


class Mock:
    """The program under test on a state file."""

    def __init__(self, options):
        command = [options.binary, "mock", "--listen", "127.0.0.1", "--profile", "unlimited", "--json"]
        command += ["--mqtts-port", "0", "--https-port", "0", "--management-port", "0", "--retry-after", "0s"]
        command += ["--trust-root", options.trust_root, "--state", options.state]
        environment = {**os.environ, "ROLLCALL_SERVICE_KEY": SERVICE_KEY}
        with open(f"{options.state}.stderr", "ab") as talk:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=talk)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the mock did not start; see {options.state}.stderr")
        ready = json.loads(line)
        self.port, self.scope = int(ready["https"].rsplit(":", 1)[1]), ready["id_scope"]
        self.context = trust(options.trust_root)
        self.is_dying = False

    def kill(self):
        self.is_dying = True
        self.process.kill()
        self.process.wait()

    def devices(self, context=None):
        return Connection(self.port, context or self.context)

    def service(self):
        return Connection(
            self.port, self.context, Authorization=token(SERVICE_KEY, "localhost", "provisioningserviceowner")
        )

    def resources(self):
        return Connection(self.port, self.context, Authorization="Bearer none")


class Book:
    """What is known of every record: its etag after the last acknowledged write, and the write on its way."""

    def __init__(self):
        self.etags, self.pending, self.kinds = {}, {}, collections.Counter()

    def write(self, kind, place, etag_of, send):
        """Sends one write, alone in flight for its `place`; `send` returns the service's answer."""
        self.pending[place] = kind
        etag = etag_of(send())
        self.etags[place] = etag
        del self.pending[place]
        self.kinds[kind] += 1
        return etag

    def held(self, place):
        """The header that makes a write depend on what is known, where there is something."""
        etag = self.etags.get(place, GONE)
        return {} if etag is GONE else {"If-Match": etag}

    def settle(self, place, found):
        """What is wrong with `found`, the etag that is served after the kill, if anything is."""
        known, pending = self.etags.get(place, GONE), self.pending.pop(place, None)
        # Only reads follow, so what is found now is what has to be found from now on.
        self.etags[place] = found
        if found == known or (pending is not None and (found is GONE) == pending.endswith("deleted")):
            return None
        return {"place": place, "acknowledged": known, "pending": pending, "found": found}


def expect(answer, *statuses):
    status, _, body = answer
    if status not in statuses:
        raise Refusal(f"{status}: {body}")
    return body


def etag(answer):
    return expect(answer, 200)["etag"]


def deleted(answer):
    expect(answer, 200, 204)
    return GONE


class Load:
    """The threads of one round. Each owns the records it writes, so that writes to one never race."""

    def __init__(self, mock, book, turn, options, fleet):
        self.mock, self.book, self.turn, self.options, self.fleet = mock, book, turn, options, fleet
        self.faults = []
        writers = [self.certified, self.keyed, self.keyed, self.enrollments, self.authorities, self.groups, self.hot]
        self.threads = [
            threading.Thread(target=self.until_dead, args=(write, number)) for number, write in enumerate(writers)
        ]

    def start(self):
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()

    def until_dead(self, write, number):
        try:
            write(f"{self.turn}-{number}", random.Random(f"{self.options.seed}-{self.turn}-{number}"))
        except Exception as fault:
            # A connection that breaks is what the round is for, once the mock has been killed and not before.
            if not (self.mock.is_dying and isinstance(fault, DEAD)):
                self.faults.append(f"{write.__name__}: {fault!r}")

    def registered(self, kind, device, place):
        def provision():
            *_, last = device.provision()
            state = expect(last, 200)["registrationState"]
            if state["status"] != "assigned":
                raise Refusal(f"{state}")
            return 200, None, state

        self.book.write(kind, place, etag, provision)

    def certified(self, _name, _dice):
        """X.509 devices, each on a connection of its own."""
        while self.fleet:
            name = self.fleet.pop()
            folder = self.options.fleet
            context = trust(self.options.trust_root, f"{folder}/{name}.chain.pem", f"{folder}/{name}.key.pem")
            device = Device(self.mock.devices(context), self.mock.scope, name)
            self.registered("x509 device registered", device, f"/registrations/{name}")

    def keyed(self, name, dice):
        """Devices of a symmetric-key group; the registrations of some are deleted again."""
        connection, service, count = self.mock.devices(), self.mock.service(), 0
        while True:
            identity, count = f"keyed-{name}-{count}", count + 1
            device = Device(connection, self.mock.scope, identity, derived(GROUP_KEY, identity))
            place = f"/registrations/{identity}"
            self.registered("keyed device registered", device, place)
            if dice.random() < 0.3:
                self.book.write("registration deleted", place, deleted, lambda: service.call("DELETE", place))

    def enrollments(self, name, dice):
        service, count = self.mock.service(), 0
        while True:
            identity, count = f"single-{name}-{count}", count + 1
            place = f"/enrollments/{identity}"
            key = base64.b64encode(dice.randbytes(32)).decode()
            keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": key, "secondaryKey": key}}
            document = {"registrationId": identity, "attestation": keys}

            def put(**headers):
                return service.call("PUT", place, document, **headers)

            self.book.write("enrollment created", place, etag, put)
            if dice.random() < 0.3:
                document["provisioningStatus"] = "disabled"
                held = self.book.held(place)
                self.book.write("enrollment updated", place, etag, lambda: put(**held))
            if dice.random() < 0.3:
                self.book.write("enrollment deleted", place, deleted, lambda: service.call("DELETE", place))

    def authorities(self, _name, dice):
        """A handful of names, of which an instance takes no more than 25."""
        resources, count = self.mock.resources(), 0
        with open(self.options.ca, "rb") as file:
            document = {"properties": {"certificate": base64.b64encode(file.read()).decode()}}
        while True:
            place, count = f"{CERTIFICATES}/ca-{count % 4}", count + 1

            def call(method, what="", sent=None):
                held = self.book.held(place)
                return lambda: resources.call(method, f"{place}{what}", sent, RESOURCE_API, **held)

            self.book.write("ca uploaded", place, etag, call("PUT", sent=document))
            self.book.write("code generated", place, etag, call("POST", "/generateVerificationCode"))
            if dice.random() < 0.5:
                self.book.write("ca deleted", place, deleted, call("DELETE"))

    def groups(self, _name, dice):
        """A handful of names, of which an instance takes no more than 100."""
        service, count = self.mock.service(), 0
        while True:
            name, count = f"group-{count % 8}", count + 1
            self.group_put("group written", name, service)
            if dice.random() < 0.5:
                place = f"/enrollmentGroups/{name}"
                self.book.write("group deleted", place, deleted, lambda: service.call("DELETE", place))

    def hot(self, _name, _dice):
        """One group, written again and again, each write on the etag of the one before."""
        service = self.mock.service()
        while True:
            self.group_put("hot group updated", HOT_GROUP, service)

    def group_put(self, kind, name, service):
        place = f"/enrollmentGroups/{name}"
        document, held = symmetric_group(name), self.book.held(place)
        self.book.write(kind, place, etag, lambda: service.call("PUT", place, document, **held))


def symmetric_group(name):
    keys = {"primaryKey": GROUP_KEY, "secondaryKey": GROUP_KEY}
    return {"enrollmentGroupId": name, "attestation": {"type": "symmetricKey", "symmetricKey": keys}}


def found(mock, connections, place):
    """The etag of the record at `place`, or that there is none."""
    service, resources = connections
    is_resource = place.startswith("/subscriptions")
    call = (resources if is_resource else service).call
    answer = call("GET", place, api_version=RESOURCE_API) if is_resource else call("GET", place)
    return GONE if answer[0] == 404 else etag(answer)


def settle(mock, book, places):
    connections = mock.service(), mock.resources()
    wrong = (book.settle(place, found(mock, connections, place)) for place in places)
    return [fault for fault in wrong if fault is not None]


def prepare(mock, book, options):
    """A verified root above the fleet of certificates, its group, and the two groups of keys."""
    resources, service = mock.resources(), mock.service()

    def encoded(file):
        with open(file, "rb") as content:
            return base64.b64encode(content.read()).decode()

    root = {"properties": {"certificate": encoded(options.ca), "isVerified": True}}
    certified = {
        "enrollmentGroupId": "certified",
        "attestation": {"type": "x509", "x509": {"caReferences": {"primary": "root"}}},
    }
    place = f"{CERTIFICATES}/root"
    book.write("set up", place, etag, lambda: resources.call("PUT", place, root, RESOURCE_API))
    for group in (certified, symmetric_group(FLEET_GROUP), symmetric_group(HOT_GROUP)):
        at = f"/enrollmentGroups/{group['enrollmentGroupId']}"
        book.write("set up", at, etag, lambda at=at, group=group: service.call("PUT", at, group))


def play(options):
    """All rounds; whatever happens, no mock is left behind."""
    started = []

    def start():
        started.append(Mock(options))
        return started[-1]

    try:
        return rounds(options, start)
    finally:
        for mock in started:
            mock.kill()


def rounds(options, start):
    dice, book = random.Random(options.seed), Book()
    suffix = ".chain.pem"
    fleet = sorted(name[: -len(suffix)] for name in os.listdir(options.fleet) if name.endswith(suffix))
    lost, faults, on_their_way = [], [], 0
    mock = start()
    prepare(mock, book, options)
    for turn in range(options.rounds):
        before = dict(book.etags)
        load = Load(mock, book, turn, options, fleet)
        load.start()
        time.sleep(dice.uniform(0.1, 0.6))
        if mock.process.poll() is not None:
            faults.append(f"round {turn}: the mock ended by itself with {mock.process.returncode}")
        mock.kill()
        load.join()
        faults += [f"round {turn}: {fault}" for fault in load.faults]
        on_their_way += len(book.pending)
        mock = start()
        written = {place for place, held in book.etags.items() if before.get(place, "") != held}
        lost += settle(mock, book, sorted(written | set(book.pending)))
    lost += settle(mock, book, sorted(book.etags))
    kinds = {kind: count for kind, count in sorted(book.kinds.items()) if kind != "set up"}
    return {
        "acknowledged": sum(kinds.values()),
        "kinds": kinds,
        "on_their_way": on_their_way,
        "records": len(book.etags),
        "lost": lost,
        "faults": faults,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("binary", "state", "trust-root", "fleet", "ca"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    print(json.dumps(play(parser.parse_args())))


if __name__ == "__main__":
    main()
