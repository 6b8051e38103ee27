"""What the kernel tells of one UDP socket when it is asked for it alone: sock_diag(7).

A question and its answer take some microseconds; the tables of all sockets (see `receiver`) take a
hundred, and a flush of many datagrams looks hundreds of times. Linux has it since 3.3, as a module
of its own (udp_diag), and a service may be kept from asking: then nobody answers.

The kernel looks for the socket as it would for a datagram of ours, so it is the very one that gets
it, whatever address it is bound to. Formats: linux/netlink.h, sock_diag.h, inet_diag.h.
"""

import socket
import struct
import sys
from contextlib import suppress
from typing import NamedTuple

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG: the protocol
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY: the type of a question, and of an answer that tells anything
_REQUEST = 1  # NLM_F_REQUEST
_MEMORY = 7  # INET_DIAG_SKMEMINFO: an attribute of the answer
_ANY = 0xFFFF_FFFF  # all states; as a cookie, none

_head = struct.Struct("=IHHII")  # length, type, flags, number, our port
_asked = struct.Struct("=BBBxI")  # family, protocol, which attributes, which states
_ports = struct.Struct(">HH")  # source and destination, each before its address of 16 bytes
_rest = struct.Struct("=III")  # interface, cookie
_attribute = struct.Struct("=HH")  # length, type
_memory = struct.Struct("=9I")  # the last: the datagrams there was no room for (SK_MEMINFO_DROPS)
_waiting = struct.Struct("=4xI")  # bytes in the queue, behind the time its timer expires
_INODE = 16  # where it stands behind that
_SOCKET = _head.size + 4 + _ports.size + 2 * 16 + _rest.size  # where a socket's numbers begin
_NUMBERS = 20  # their bytes, before the attributes
_LARGEST = 8192  # bytes of an answer


class Row(NamedTuple):
    """A UDP socket: `waiting` in bytes of the kernel's own bookkeeping, `drops` in datagrams."""

    inode: int
    waiting: int
    drops: int


class Diagnosis:
    """Asks for the socket of this host that gets what the connected UDP socket `sock` sends.

    `works` is false where the kernel does not answer such questions.
    """

    def __init__(self, sock: socket.socket) -> None:
        mine, theirs = sock.getsockname(), sock.getpeername()
        self._question = _question(sock.family, mine, theirs)
        self._kernel = _kernel()
        # Of our own socket it must know something, if of any.
        self.works = self._ask(_question(sock.family, theirs, mine)) is not None

    def row(self) -> Row | None:
        """The socket as it is now; None when there is none."""
        return self._ask(self._question)

    def close(self) -> None:
        """Ask no more."""
        if self._kernel:
            self._kernel.close()
        self._kernel, self.works = None, False

    def _ask(self, question: bytes) -> Row | None:
        if self._kernel is None:
            return None
        with suppress(OSError, struct.error):
            self._kernel.send(question)
            return _read(self._kernel.recv(_LARGEST, socket.MSG_DONTWAIT))
        return None


def _kernel() -> socket.socket | None:
    """A socket that the kernel answers; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG)
    except OSError:
        return None


def _question(family: int, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """Which socket gets a datagram from `source` to `destination`? Both as the `socket` module
    writes addresses."""
    body = _asked.pack(family, socket.IPPROTO_UDP, 1 << _MEMORY - 1, _ANY)
    body += _ports.pack(source[1], destination[1])
    for host, *_ in (source, destination):
        body += socket.inet_pton(family, host.partition("%")[0]).ljust(16, b"\0")
    body += _rest.pack(0, _ANY, _ANY)
    return _head.pack(_head.size + len(body), _BY_FAMILY, _REQUEST, 0, 0) + body


def _read(answer: bytes) -> Row | None:
    """The socket an answer tells of; None when it only tells that there is none. Raises
    struct.error."""
    if _head.unpack_from(answer)[1] != _BY_FAMILY:
        return None
    (waiting,) = _waiting.unpack_from(answer, _SOCKET)
    (inode,) = struct.unpack_from("=I", answer, _SOCKET + _INODE)
    at = _SOCKET + _NUMBERS
    while True:
        length, kind = _attribute.unpack_from(answer, at)
        if kind == _MEMORY:
            return Row(inode, waiting, _memory.unpack_from(answer, at + _attribute.size)[-1])
        at += max(_attribute.size, length + 3 & ~3)
