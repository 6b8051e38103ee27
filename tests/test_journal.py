"""The journal: what was committed is there, what was torn is not, what is foreign is set aside."""

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.journal import (
    MAGIC,
    Deaf,
    Fed,
    Flushed,
    FlushedOwn,
    Journal,
    Rebased,
    Refused,
    Sent,
    Snapshot,
    Ticked,
)

SNAPSHOT = Snapshot(1.0, 3, {"statsd://a": 2}, {"lives": [], "x": 1.5}, "agent:16")
RECORDS = [
    Fed(2.0, [b"{}", b"\xff\x00"]),
    Ticked(3.0),
    Deaf(3.5),
    Refused("content_type"),
    Flushed(4.0, 4, True, 5.0),
    Flushed(4.5, 5, False, 5.0, "agent:17"),
    FlushedOwn(4.6),
    Rebased(),
    Sent("statsd://a", 4),
]


OPENED: list[Journal] = []


@pytest.fixture(autouse=True)
def _leave_nothing_open() -> Iterator[None]:
    yield
    for journal in OPENED:
        journal.close()
    OPENED.clear()


def written(path: Path) -> Journal:
    """A journal in which SNAPSHOT and RECORDS stand, committed one by one."""
    journal = Journal(path)
    OPENED.append(journal)
    journal.begin(SNAPSHOT)
    for record in RECORDS:
        journal.append(record)
        journal.commit()
    return journal


def test_what_was_committed_is_recovered(tmp_path: Path) -> None:
    """Every kind of record comes back as it was, behind its snapshot."""
    journal = written(tmp_path / "j")

    assert [SNAPSHOT, *RECORDS] == list(Journal(tmp_path / "j").recover())
    assert journal.size == (tmp_path / "j").stat().st_size


def test_no_file_is_no_error(tmp_path: Path) -> None:
    """A first start finds nothing."""
    assert [] == list(Journal(tmp_path / "j").recover())


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    """Appending alone writes nothing."""
    journal = written(tmp_path / "j")
    journal.append(Ticked(9.0))
    journal.close()

    assert RECORDS[-1] == list(Journal(tmp_path / "j").recover())[-1]


def test_a_file_cut_anywhere_gives_the_whole_records_before(tmp_path: Path) -> None:
    """At each byte: what comes back is a beginning of what was written, and appending goes on."""
    path = tmp_path / "j"
    written(path)
    whole = path.read_bytes()
    found = set()
    for cut in range(len(MAGIC) + 1, len(whole)):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        records = list(journal.recover())
        if not records:
            assert journal.set_aside is not None
            journal.set_aside.unlink()
            continue
        found.add(len(records))
        assert [SNAPSHOT, *RECORDS][: len(records)] == records
        journal.resume()
        journal.append(Ticked(7.0))
        journal.commit()
        journal.close()
        assert [*records, Ticked(7.0)] == list(Journal(path).recover())

    assert set(range(1, len(RECORDS) + 1)) == found


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_what_stands_behind_it(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never an error, never a record that was not written."""
    path = tmp_path_factory.mktemp("flip") / "j"
    written(path)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)
    records = list(Journal(path).recover())

    assert [SNAPSHOT, *RECORDS][: len(records)] == records


@pytest.mark.parametrize("content", [b"", b"hello", MAGIC, b"celery-statsd journal 0\nxyz"])
def test_a_foreign_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """It is kept for somebody to look at, under another name."""
    path = tmp_path / "j"
    path.write_bytes(content)
    journal = Journal(path)

    assert [] == list(journal.recover())
    assert journal.set_aside is not None
    assert content == journal.set_aside.read_bytes()
    assert not path.exists()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """It holds bodies of events: arguments of tasks stand in them."""
    written(tmp_path / "j")

    assert 0o600 == stat.S_IMODE((tmp_path / "j").stat().st_mode)


def test_a_new_snapshot_takes_the_place_of_all(tmp_path: Path) -> None:
    """The old file stays whole until the new one is."""
    journal = written(tmp_path / "j")
    later = Snapshot(9.0, 5, {}, {})
    journal.begin(later)
    journal.append(Ticked(10.0))
    journal.commit()

    assert [later, Ticked(10.0)] == list(Journal(tmp_path / "j").recover())
    assert ["j"] == os.listdir(tmp_path)


def test_a_disk_that_takes_no_more_is_told_and_loses_nothing_written(tmp_path: Path) -> None:
    """A commit that fails leaves what was committed; the next one can succeed."""
    journal = written(tmp_path / "j")
    journal.append(Ticked(8.0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + 3, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    half_written = list(Journal(tmp_path / "j").recover())
    journal.commit()

    assert [SNAPSHOT, *RECORDS] == half_written
    assert [SNAPSHOT, *RECORDS, Ticked(8.0)] == list(Journal(tmp_path / "j").recover())
