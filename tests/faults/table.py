"""The table of the fault suite: one row a fault, printed, and written into the documents."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.servers.process import REPOSITORY

MODE = os.environ.get("FAULTS", "")
"""`long`: everything, at length; anything else: the short form that runs with all the tests."""

LONG = MODE == "long"

SOAK = float(os.environ.get("SOAK_SECONDS", "0"))
"""How long `make soak` lasts, in seconds; 0: not at all."""

JSON = REPOSITORY / "docs" / "faults.json"
MARKDOWN = REPOSITORY / "docs" / "faults.md"

BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
"""The markers in `MARKDOWN` between which the table stands."""

LEFT_OUT: tuple[tuple[str, str], ...] = (
    ("A6", "the restarts of A1 and A2; delivery counts are limited from RabbitMQ 4 on only"),
    (
        "A10",
        "the watchdog: tests/systemd, tests/test_agent.py; a sink that hangs: tests/test_agent.py",
    ),
    ("A11", "not tried: a log that blocks (a full pipe) would block the agent"),
    ("B11", "not tried: that its exchange is gone is noticed at the next connection only"),
    ("B12", "tests/source/test_queue.py: such a queue is used as it is"),
    ("B13", "tests/source/test_amqp.py"),
    ("B14", "a new password in broker_file is read at the next start only"),
    ("B18", "tests/source/test_amqp.py, tests/source/test_redis.py"),
    ("B19", "not tried: there is no name server here; names are resolved at each connection"),
    ("R7", "tests/source/test_redis.py"),
    ("R10", "not tried"),
    ("S2", "not tried: takes a second host"),
    ("S3", "a socket without room: tests/sinks/test_statsd.py"),
    ("S4", "tests/sinks/test_datagram.py"),
    ("S12", "as S1 and S7"),
    ("S13, S14", "tests/sinks/test_statsd.py"),
    ("L2-L5, L7-L19", "tests/test_events.py, tests/test_tracker.py, tests/source/test_redis.py"),
)
"""Rows of the matrix that are not tried here, and why, or where they are."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one fault did. The unit of `sent`, `counted`, `lost` and `doubled` is the attempt.

    An attempt is one message of three events; it is counted when all three are. `events` are all
    events the agent took in, as its ledger has them (what came again included); `lost_reported`
    are the losses it told of by itself. `recover_s` is the time from the end of the fault until
    the first attempt that was sent after it had come out at the other end.
    """

    id: str
    fault: str
    broker: str
    sent: int
    counted: int
    lost: int
    doubled: int
    recover_s: float | None
    peak_rss_mb: float
    lost_reported: int
    events: int
    note: str = ""


_COLUMNS = (
    ("id", "id"),
    ("fault", "fault"),
    ("broker", "broker"),
    ("sent", "sent"),
    ("counted", "counted"),
    ("lost", "lost"),
    ("lost_reported", "reported"),
    ("doubled", "doubled"),
    ("recover_s", "recover s"),
    ("peak_rss_mb", "peak MB"),
    ("note", "note"),
)


class Table:
    """The rows of one session, in the order of the matrix."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        """One more."""
        self.rows.append(row)

    def text(self) -> str:
        """For a terminal."""
        cells = [[title for _, title in _COLUMNS], *map(_cells, _sorted(self.rows))]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        )

    def write(self, whole: bool) -> None:
        """Into `JSON` and `MARKDOWN`; what is not of a whole run joins what is there."""
        rows = self.rows if whole else _joined(_written(), self.rows)
        document = [asdict(row) for row in _sorted(rows)]
        JSON.parent.mkdir(exist_ok=True)
        JSON.write_text(json.dumps(document, indent=1) + "\n")
        head, _, rest = MARKDOWN.read_text().partition(BEGIN)
        MARKDOWN.write_text(f"{head}{BEGIN}\n\n{markdown(rows)}\n{END}{rest.partition(END)[2]}")


def markdown(rows: Iterable[Row]) -> str:
    """The table, and behind it what is left out."""
    titles = [title for _, title in _COLUMNS]
    lines = [_line(titles), _line(["---"] * len(titles)), *map(_line, map(_cells, _sorted(rows)))]
    lines += ["", "Not in the table:", "", _line(["row", "why, or where"]), _line(["---"] * 2)]
    return "\n".join([*lines, *map(_line, LEFT_OUT), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    return [_cell(getattr(row, name)) for name, _ in _COLUMNS]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.broker, _place(row.id), row.fault))


def _place(name: str) -> tuple[str, int, str]:
    """B2 comes before B10."""
    number = "".join(filter(str.isdigit, name)) or "0"
    return name[:1], int(number), name


def _written() -> list[Row]:
    if not JSON.exists():
        return []
    known = Row.__dataclass_fields__
    found = [row for row in json.loads(JSON.read_text()) if set(row) == set(known)]
    return [Row(**row) for row in found]


def _joined(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    rows = {(row.id, row.fault, row.broker): row for row in (*old, *new)}
    return list(rows.values())
