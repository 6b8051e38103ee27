"""What the doctor says: one row for each thing it looked at, and how the rows are shown."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum


class Severity(Enum):
    """How bad a finding is, the worst first. `code` is the exit code it asks for, as Nagios reads
    it: what nobody can tell ranks above what needs care."""

    CRITICAL = ("critical", 2, "red")
    UNKNOWN = ("unknown", 3, "magenta")
    WARNING = ("warning", 1, "yellow")
    OK = ("ok", 0, "green")

    def __init__(self, word: str, code: int, colour: str) -> None:
        self.word = word
        self.code = code
        self.colour = colour
        self.rank = len(type(self).__members__)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `name` is the examination's, always the same; `subject` whom it is about (a worker, a queue, a
    sink; "" for the whole); `sentence` what was seen, `cure` what to do about it ("" when all is
    well).
    """

    severity: Severity
    name: str
    subject: str
    sentence: str
    cure: str = ""


def ok(name: str, subject: str, sentence: str, cure: str = "") -> Finding:
    """All is well, or it does no harm here; `cure` is then what could be better."""
    return Finding(Severity.OK, name, subject, sentence, cure)


def warning(name: str, subject: str, sentence: str, cure: str) -> Finding:
    """Something is missing, or will be one day."""
    return Finding(Severity.WARNING, name, subject, sentence, cure)


def critical(name: str, subject: str, sentence: str, cure: str) -> Finding:
    """Numbers are wrong or missing now."""
    return Finding(Severity.CRITICAL, name, subject, sentence, cure)


def unknown(name: str, subject: str, sentence: str, cure: str) -> Finding:
    """It could not be seen."""
    return Finding(Severity.UNKNOWN, name, subject, sentence, cure)


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """By severity; those of one severity stay in the order of the examinations."""
    return sorted(found, key=lambda finding: finding.severity.rank)


def verdict(found: Iterable[Finding]) -> int:
    """The exit code: the worst one's."""
    return next((finding.severity.code for finding in worst_first(found)), Severity.UNKNOWN.code)


def as_json(found: Sequence[Finding]) -> str:
    """An object: the exit code, and the findings as they stand."""
    rows = [{**asdict(finding), "severity": finding.severity.word} for finding in found]
    return json.dumps({"code": verdict(found), "findings": rows}, indent=1)


def as_lines(found: Iterable[Finding]) -> Iterator[tuple[str, str]]:
    """A line for each, and its colour. Names are others': what is not printable is written out."""
    for finding in found:
        about = f"{finding.name} {finding.subject}".rstrip()
        cure = f" -> {finding.cure}" if finding.cure else ""
        line = f"{finding.severity.word:8} {about}: {finding.sentence}{cure}"
        yield printable(line), finding.severity.colour


def printable(text: str) -> str:
    """`text` in one line that leaves a terminal alone, whoever wrote it."""
    return text if text.isprintable() else repr(text)[1:-1]


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names for a sentence: the first ones, and how many more there are."""
    rows = sorted(names)
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return ", ".join(rows[:most]) + more
