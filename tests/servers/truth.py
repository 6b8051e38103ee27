"""What really happened, told by those who did it, without Celery's events.

Every process of a workload (clients, workers, their pool children) appends lines to one file:
task bodies as they are entered and left, Celery's signals where a task never has a body. One
`os.write` of a whole line to a file opened O_APPEND is atomic, so processes cannot mix lines,
and their order is the order in which things were written down.

`Truth` reads the lines into the counts a monitor must reach. Its rules, each seen on Celery 5.7:

| to be counted | told by |
| --- | --- |
| sent       | signal after_task_publish: clients, retries, chain steps and replacements alike |
| received   | signal task_received; what is expired, revoked or unknown on arrival has none |
| on_arrival | exactly those: an ending of a uuid that was never received |
| started    | the body was entered; one that is ended from outside was entered too |
| succeeded  | signal task_success: it comes after the next step of a chain was sent, so that |
|            | a chain is never over between two steps; the body's own return must agree |
| retried    | the body, autoretry's wrapper included, raised Retry |
| failed     | the body raised anything else but Ignore and SystemExit; or its hard time limit |
|            | ended it, told by signal task_failure in the worker's main process, twice; or |
|            | there is no such task, told by signal task_unknown: NotRegistered |
| revoked    | signal task_revoked |
| unended    | the body raised Ignore: no event ever tells. The first half of `replace` is |
|            | such a one, its uuid goes on under the name of the second |

`raise Reject(requeue=False)` is a failure: 5.7 emits task-failed, and then, when the message was
not acknowledged yet, task-rejected as well, which is not a second outcome. SystemExit is how a
pool child dies of the SIGTERM that terminate and the hard limit send, if it gets to say anything:
the main process tells which of the two it was.
"""

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES = ("sent", "received", "on_arrival", "started", "succeeded", "failed", "retried", "revoked")
"""The counts there are of each task; those of no ending are in `Truth.unended`."""

UNTOLD = {"Ignore", "SystemExit"}
"""What a body raises without an ending of its own."""


class Recorder:
    """Appends lines to a truth file, from any thread and after any fork."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, what: str, **facts: Any) -> None:
        """One line: `what` happened, here and now."""
        line = {"what": what, **facts, "pid": os.getpid(), "time": time.time()}
        os.write(self._file, json.dumps(line).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Truth:
    """The counts of one workload so far. A task that is not in a Counter has 0 there.

    `stages` by stage and task, `errors` by exception class, `queues` by queue (sent), `entered` by
    worker (what `processed` in its heartbeats must say), `unended` by task. `returned` and
    `errors_told` are second witnesses: by task, of bodies, against `succeeded`; by class, of the
    signal task_failure, against `errors`.
    """

    stages: dict[str, Counter[str]]
    errors: Counter[str]
    queues: Counter[str]
    entered: Counter[str]
    unended: Counter[str]
    returned: Counter[str]
    errors_told: Counter[str]
    over: bool
    """Whether every message that was sent has met its end."""

    @classmethod
    def read(cls, path: str | Path) -> "Truth":
        """Count the lines written so far."""
        return count(lines(path))

    def total(self, stage: str) -> int:
        """One stage over all tasks."""
        return self.stages[stage].total()


def lines(path: str | Path) -> list[dict[str, Any]]:
    """The lines written so far, as objects; one that is just being written is left for later."""
    file = Path(path)
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]


def count(rows: list[dict[str, Any]]) -> Truth:
    """The rules above, applied."""
    sent, returned = _of(rows, "sent"), _of(rows, "returned")
    received = _of(rows, "received")
    unknown = _of(rows, "unknown")
    # Terminating fires task_revoked in more than one place before 5.0: once for each uuid.
    revoked = _once(_of(rows, "revoked"))
    raised = [row for row in _of(rows, "raised") if row["error"] not in UNTOLD]
    retried = [row for row in raised if row["error"] == "Retry"]
    told = _of(rows, "failure")
    limited = _once([row for row in told if row["error"] == "TimeLimitExceeded"])
    missing = [{**row, "error": "NotRegistered"} for row in unknown]
    failed = [row for row in raised if row["error"] != "Retry"] + limited + missing
    unended = [row for row in _of(rows, "raised") if row["error"] == "Ignore"]
    succeeded = _of(rows, "success")
    known = {row["id"] for row in received}
    stages = {
        "sent": sent,
        "received": received,
        "on_arrival": unknown + [row for row in revoked if row["id"] not in known],
        "started": _of(rows, "entered"),
        "succeeded": succeeded,
        "failed": failed,
        "retried": retried,
        "revoked": revoked,
    }
    ends = Counter(row["id"] for row in succeeded + failed + retried + revoked + unended)
    return Truth(
        stages={stage: Counter(row["task"] for row in found) for stage, found in stages.items()},
        errors=Counter(row["error"] for row in failed),
        queues=Counter(row["queue"] for row in sent),
        entered=Counter(row["worker"] for row in stages["started"]),
        unended=Counter(row["task"] for row in unended),
        returned=Counter(row["task"] for row in returned),
        errors_told=Counter(row["error"] for row in _once(told) + missing),
        over=bool(sent) and ends == Counter(row["id"] for row in sent),
    )


def _of(rows: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["what"] == what]


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first row of each uuid: no uuid of the workload fails or is revoked more than once."""
    return list({row["id"]: row for row in reversed(rows)}.values())
