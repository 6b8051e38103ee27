"""What the kernel of this host knows of the socket that our datagrams go to.

A UDP socket whose buffer is full loses datagrams, and `send` says nothing of it. When it is a
socket of this host, Linux tells the bytes that wait in it and the datagrams it had no room for: to
those who ask for it alone (see `diagnosis`), else in /proc/self/net/udp and udp6, which have a row
for each. Format: linux net/ipv4/udp.c, udp4_format_sock.

Nothing is known of a receiver on another host or in another network namespace (a container
behind a forwarded port), nor anywhere but on Linux. A row counts the datagrams of all its
senders, not ours alone. In the tables sockets that share one address are added up: the kernel
gives each datagram to one of them, and they do not tell to which.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from celery_statsd.sinks.base import Tally
from celery_statsd.sinks.diagnosis import Diagnosis, Row

TABLES = Path("/proc/self/net")


class Receiver:
    """The socket, or sockets, that the connected UDP socket `sock` sends to.

    What they have had no room for since this was made is added to `tally.overrun`.
    """

    def __init__(self, sock: socket.socket, tally: Tally) -> None:
        self.tally = tally
        self._diagnosis = Diagnosis(sock)
        self._port = sock.getpeername()[1]
        self._tiers = _tiers(sock.getpeername()[0]) if _is_here(sock) else ()
        self._drops = {row.inode: row.drops for row in self._rows()}

    def look(self) -> int | None:
        """The bytes that wait there now; None when that cannot be known."""
        rows = self._rows()
        for row in rows:
            self.tally.overrun += max(0, row.drops - self._drops.get(row.inode, 0))
            self._drops[row.inode] = row.drops
        return sum(row.waiting for row in rows) if rows else None

    def close(self) -> None:
        """Look no more."""
        self._diagnosis.close()

    def _rows(self) -> list[Row]:
        """The row of the socket or, by the tables, those bound most closely to the address: to it
        alone, else to any address."""
        if not self._tiers:
            return []
        row = self._diagnosis.row() if self._diagnosis.works else None
        if row:
            return [row]
        tables = {name: list(_bound(name, self._port)) for name in ("udp", "udp6")}
        for table, address in self._tiers:
            rows = [row for bound, row in tables[table] if bound == address]
            if rows:
                return rows
        return []


def _bound(table: str, port: int) -> Iterator[tuple[str, Row]]:
    """The unconnected sockets bound to `port`, each with its address as the table writes it."""
    try:
        text = (TABLES / table).read_text(encoding="ascii")
    except OSError:
        return
    wanted = f":{port:04X} "
    for line in text.splitlines():
        if wanted in line:
            fields = line.split()
            address, _, its_port = fields[1].partition(":")
            if int(its_port, 16) == port and not fields[2].strip("0:"):
                waiting = int(fields[4].partition(":")[2], 16)
                yield address, Row(int(fields[9]), waiting, int(fields[12]))


def _is_here(sock: socket.socket) -> bool:
    """Whether the peer of `sock` is this host: the kernel answers from the address it calls."""
    peer = sock.getpeername()[0].partition("%")[0]
    return ipaddress.ip_address(peer).is_loopback or sock.getsockname()[0] == sock.getpeername()[0]


def _tiers(host: str) -> tuple[tuple[str, str], ...]:
    """The tables and addresses a socket may be bound to that gets what is sent to `host`."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 6:
        return ("udp6", _written(address.packed)), ("udp6", "0" * 32)
    mapped = b"\0" * 10 + b"\xff" * 2 + address.packed
    return (
        ("udp", _written(address.packed)),
        ("udp6", _written(mapped)),
        ("udp", "0" * 8),
        ("udp6", "0" * 32),
    )


def _written(packed: bytes) -> str:
    """An address as the tables have it: words of four bytes, each as this machine reads it."""
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", packed))
