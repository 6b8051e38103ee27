"""Plays with a real link to another host, in a network namespace that nothing else shares.

Run by `unshare --map-root-user --net`, with the play's name; tells as JSON the counters that were
sent, those that arrived at the far end, and the sink's tally.
"""

import json
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from celery_statsd.errors import SinkDown
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.datagram import UdpSink
from tests.servers.process import wait_until
from tests.sinks.conftest import Make, counted

NEAR, FAR, PORT = "10.9.0.1", "10.9.0.2", 8125

Played = tuple[UdpSink, dict[str, int], dict[str, int]]
"""The sink, the counters sent, those that arrived."""


def tell(line: str) -> None:
    """Run one command of iproute2."""
    subprocess.run(line.split(), check=True)


def link() -> None:
    """Lay the wire: `near` has our address, at `far` nobody answers yet."""
    tell("ip link set lo up")
    tell("ip link add near type veth peer name far")
    tell(f"ip addr add {NEAR}/24 dev near")
    tell("ip link set near up")
    tell("ip link set far up")


def sink(options: str) -> UdpSink:
    made = sink_from(f"statsd://{FAR}:{PORT}{options}")
    assert isinstance(made, UdpSink)
    return made


def refused(to: UdpSink) -> bool:
    """Whether word has come to the socket that nobody is there."""
    poll = select.poll()
    poll.register(to._client._sock, 0)
    return bool(poll.poll(0))


def dead_host() -> Played:
    """Nobody has the address, as when the host is off, over three flushes; then somebody has."""
    Path("/proc/sys/net/ipv4/neigh/near/retrans_time_ms").write_text("100")
    to, sent = sink(""), {"t.a.s": 0}
    for value in (1, 2, 4):
        with suppress(SinkDown):
            to.send(Make.batch({"t.a.s": value}))
        sent["t.a.s"] += value
        wait_until(lambda: refused(to), 20, "the network says so")
    tell(f"ip addr add {FAR}/32 dev lo")
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind((FAR, PORT))
        with suppress(SinkDown):
            to.send(Make.batch({"t.a.s": 8}))
        to.send(Make.batch({"t.a.s": 16}))
        sent["t.a.s"] += 24
        text = "\n".join(receiver.recv(65536).decode() for _ in range(2))
    return to, sent, counted(text)


def full_queue() -> Played:
    """A link of 8 kbit/s that queues two datagrams; then it is as fast as the flushes need."""
    tell(f"ip neigh add {FAR} lladdr 02:00:00:00:00:01 dev near")
    tell("tc qdisc add dev near root tbf rate 8kbit burst 1600 limit 3000")
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    wire.bind(("far", 0x0800))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    to, counters = sink("?timeout=1"), {f"t.{'a' * 80}{n}.s": 1 for n in range(500)}
    for _ in range(3):
        with suppress(SinkDown):
            to.send(Make.batch(counters))
    tell("tc qdisc change dev near root tbf rate 1gbit burst 100000 limit 10000000")
    to.send(Make.batch())
    text: list[str] = []
    with wire:
        wire.settimeout(20)
        while len(text) < to.tally.packets:
            text.append(wire.recv(65536)[28:].decode())  # after the headers of IP and UDP
    return to, dict.fromkeys(counters, 3), counted("\n".join(text))


PLAYS: dict[str, Callable[[], Played]] = {"dead_host": dead_host, "full_queue": full_queue}


if __name__ == "__main__":
    link()
    played, gone, come = PLAYS[sys.argv[1]]()
    tally = played.tally
    sums = {"sent": gone, "arrived": come, "errors": tally.errors, "dropped": tally.dropped}
    sys.stdout.write(json.dumps(sums))
