"""Where a name leads: looked up anew each time, and each of its addresses tried.

A look-up is the C library's: it may take longer than any timeout here when no name server
answers. It happens on a sink's own thread, so it delays that sink alone.
"""

import socket
import sys
import time
from typing import Any, NamedTuple

# linux/in.h and in6.h; the socket module has no names for them.
_HEAR_ALL: dict[int, tuple[int, int]] = (
    {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
    if sys.platform == "linux"
    else {}
)


class Place(NamedTuple):
    """One address a name leads to, as `socket.connect` takes it."""

    family: int
    address: tuple[Any, ...]


def places(host: str, port: int, kind: int) -> list[Place]:
    """All addresses of `host`, in the resolver's order; `kind` is SOCK_STREAM or SOCK_DGRAM.

    For datagrams the IPv4 ones alone, if there are any: StatsD listens on IPv4 unless told
    otherwise, and a datagram may get no answer that says so. Raises OSError.
    """
    rows = socket.getaddrinfo(host, port, type=kind)
    found = list(dict.fromkeys(Place(family, address) for family, _, _, _, address in rows))
    plain = [place for place in found if place.family == socket.AF_INET]
    return plain if plain and kind == socket.SOCK_DGRAM else found


def connected(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first address of `host` that takes one.

    Until `deadline` (monotonic seconds); one that does not answer leaves the others their share
    of the time. Raises the OSError of the last one tried.
    """
    found = places(host, port, socket.SOCK_STREAM)
    while True:
        place = found.pop(0)
        left = max(0.001, deadline - time.monotonic())
        try:
            return _connected(place, left / (1 + len(found)))
        except OSError:
            if not found:
                raise


def _connected(place: Place, timeout: float) -> socket.socket:
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(place.address)
    except OSError:
        sock.close()
        raise
    return sock


def aimed(place: Place) -> socket.socket:
    """A UDP socket connected to `place`, so that it hears what the network says of its datagrams.

    On Linux all of it: also that a host or network is unreachable, and that our own queue had no
    room, which are kept quiet otherwise (ip(7), IP_RECVERR). Raises OSError.
    """
    sock = socket.socket(place.family, socket.SOCK_DGRAM)
    try:
        if place.family in _HEAR_ALL:
            sock.setsockopt(*_HEAR_ALL[place.family], 1)
        sock.connect(place.address)
    except OSError:
        sock.close()
        raise
    return sock
