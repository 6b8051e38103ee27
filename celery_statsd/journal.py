"""The journal: what the pipeline has taken in, on disk, so that a new process can go on with it.

A file holds a snapshot of the pipeline and, behind it, every call made to the pipeline since: the
bodies fed, the ticks, the flushes. To recover is to load the snapshot and make the same calls
again. The pipeline has no clock and no chance in it, therefore it comes to the same sums; nothing
of what it keeps must be written twice, as itself and as its changes.

Laws:
1. What was committed survives the process, and (with fdatasync) the machine. The broker is told
   only afterwards that it may forget.
2. A record is whole or it is not there: each carries its length and a checksum. A torn tail is
   what was never committed; it is cut off. A file that does not begin as a journal of this
   version does is set aside, never overwritten, and never stops the start.
3. A new snapshot is written beside the old file and takes its name when it is whole.
4. Whatever the file's length, no more than one record of it is in memory at a time.
"""

import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import msgspec

from celery_statsd.accounts import Account
from celery_statsd.errors import ConfigError

MAGIC = b"celery-statsd journal 3\n"
"""What a journal begins with; the number is the version of all that follows."""

_HEAD = 8  # bytes: length and checksum, big endian


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot", array_like=True):
    """The whole pipeline at `now`, as it dumps itself; `number` is that of the last flush, and
    `sent` says of each sink up to which flush it has delivered; `cut` is the last mark."""

    now: float
    number: int
    sent: dict[str, int]
    state: Any
    cut: str = ""


class Fed(msgspec.Struct, frozen=True, tag="fed", array_like=True):
    """Bodies that came together at `now`."""

    now: float
    bodies: Sequence[bytes]


class Refused(msgspec.Struct, frozen=True, tag="refused", array_like=True):
    """A message that was not even tried."""

    reason: str


class Deaf(msgspec.Struct, frozen=True, tag="deaf", array_like=True):
    """The broker was away at `now`."""

    now: float


class Ticked(msgspec.Struct, frozen=True, tag="ticked", array_like=True):
    """Time passed until `now`."""

    now: float


class Flushed(msgspec.Struct, frozen=True, tag="flushed", array_like=True):
    """Flush `number` was drained at `now` and stamped `stamp`; `last` was the farewell of its
    process. `cut` names the mark in the stream it ended at, if it ended at one."""

    now: float
    number: int
    last: bool
    stamp: float
    cut: str = ""


class FlushedOwn(msgspec.Struct, frozen=True, tag="flushed_own", array_like=True):
    """The agent's own numbers were drained at `now`, and nothing else."""

    now: float


class Rebased(msgspec.Struct, frozen=True, tag="rebased", array_like=True):
    """Others have heard what was missed: of these workers what they had accounted for is known,
    of all when there are none."""

    bases: dict[str, int] | None = None


class Expected(msgspec.Struct, frozen=True, tag="expected", array_like=True):
    """Others have heard of workers that are still unknown here: what they had accounted for."""

    accounts: dict[str, Account]


class Sent(msgspec.Struct, frozen=True, tag="sent", array_like=True):
    """A sink has delivered every flush up to `number`."""

    sink: str
    number: int


Record = Snapshot | Fed | Refused | Deaf | Ticked | Flushed | FlushedOwn | Rebased | Expected | Sent

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Journal:
    """One journal file. Used by one thread; `size` is its length in bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.set_aside: Path | None = None
        self.pending = 0
        self._file: BinaryIO | None = None
        self._pending: list[bytes] = []

    def recover(self) -> Iterator[Record]:
        """The records of the file, as far as they are whole, one by one; none without a file.

        A file that is no journal of this version is renamed (see `set_aside`). Raises OSError
        when the folder or the file cannot be read.
        """
        try:
            file = open(self.path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        with file:
            records = _records(file)
            first = next(records, None)
            if not isinstance(first, Snapshot):
                self.put_aside()
                return
            self.size = file.tell()
            yield first
            del first  # the largest of all
            for record in records:
                self.size = file.tell()
                yield record

    def put_aside(self) -> None:
        """Give the file another name, for somebody to look at (see `set_aside`)."""
        self.set_aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.damaged")
        self.path.rename(self.set_aside)

    def resume(self) -> None:
        """Go on behind the last whole record that `recover` found."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        os.ftruncate(descriptor, self.size)

    def begin(self, snapshot: Snapshot) -> None:
        """Write a new file that holds `snapshot` alone, in the place of the old one."""
        beside = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        file = os.fdopen(descriptor, "wb", buffering=0)
        try:
            self.size = sum(_write(file, part) for part in (MAGIC, *_framed(snapshot)))
            os.fsync(file.fileno())
            beside.rename(self.path)
            _sync_folder(self.path.parent)
        except OSError:
            file.close()
            raise
        self._close_file()
        self._file = file
        self._forget_pending()

    def append(self, record: Record) -> None:
        """Keep `record` for the next commit; `pending` bytes wait for it."""
        parts = _framed(record)
        self._pending += parts
        self.pending += sum(map(len, parts))

    def commit(self) -> None:
        """Write what was appended, down to the disk. Raises OSError; nothing is forgotten then."""
        if not self._pending or self._file is None:
            return
        wire = b"".join(self._pending)
        os.ftruncate(self._file.fileno(), self.size)  # half a write of an earlier attempt
        os.lseek(self._file.fileno(), self.size, os.SEEK_SET)
        written = _write(self._file, wire)
        os.fdatasync(self._file.fileno())
        self.size += written
        self._forget_pending()

    def close(self) -> None:
        """Let go of the file; what was not committed is forgotten."""
        self._close_file()

    def _forget_pending(self) -> None:
        self._pending.clear()
        self.pending = 0

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _framed(record: Record) -> tuple[bytes, bytes]:
    """The head and the payload of a record."""
    payload = _encode(record)
    return len(payload).to_bytes(4) + zlib.crc32(payload).to_bytes(4), payload


def _records(file: BinaryIO) -> Iterator[Record]:
    """The records of a journal, up to the first that is not whole; the file stands behind the
    last one given."""
    if file.read(len(MAGIC)) != MAGIC:
        return
    while (record := _next_record(file)) is not None:
        yield record
        del record


def _next_record(file: BinaryIO) -> Record | None:
    head = file.read(_HEAD)
    length = int.from_bytes(head[:4])
    left = os.fstat(file.fileno()).st_size - file.tell()
    if len(head) < _HEAD or length > left:
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload) != int.from_bytes(head[4:]):
        return None
    try:
        record: Record = _decode(payload)
    except msgspec.MsgspecError:
        return None
    return record


def _write(file: BinaryIO, wire: bytes) -> int:
    """Write all of `wire`; a disk that is full raises OSError."""
    done = 0
    while done < len(wire):
        done += file.write(memoryview(wire)[done:])
    return done


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def locked(path: Path) -> BinaryIO:
    """The lock file beside `path`, held by this process as long as it lives."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(path.with_name(f"{path.name}.lock"), "a+b")  # noqa: SIM115
    except OSError as error:
        raise unusable(path, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(
            "state_dir", f"another agent keeps {path}", "give each its own folder, or another app"
        ) from None
    return lock


def identity_in(lock: BinaryIO) -> str:
    """What stands in the lock file, which is written once."""
    lock.seek(0)
    identity = lock.read(32).decode("ascii", "replace")
    if len(identity) == 32 and identity.isalnum():
        return identity
    lock.truncate(0)
    identity = uuid4().hex
    lock.write(identity.encode("ascii"))
    lock.flush()
    return identity


def unusable(path: Path, error: OSError) -> ConfigError:
    """What to tell when a journal cannot be kept there."""
    return ConfigError(
        "state_dir",
        f"{path.parent} cannot be used ({os.strerror(error.errno or 0)})",
        "name a folder this user may write to",
    )
