"""What README and docs/ show: their blocks of commands, and the commands in them."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.servers.process import REPOSITORY

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
"""All that people read."""

_FENCE = re.compile(r"(?ms)^```(\w*)([^\n]*)\n(.*?)^```$")


class Command(NamedTuple):
    """One command, as it stands there; `line` is that of its block."""

    page: str
    line: int
    text: str


def blocks(page: Path, *words: str) -> list[tuple[int, str]]:
    """The blocks `sh` of a page with just these words beside it, each with its line."""
    text = page.read_text()
    return [
        (text.count("\n", 0, found.start()) + 1, found[3])
        for found in _FENCE.finditer(text)
        if found[1] == "sh" and tuple(found[2].split()) == words
    ]


def commands(*words: str) -> list[Command]:
    """The commands of all pages in such blocks; a line that ends in a backslash goes on."""
    return [
        Command(page.name, line, command.strip())
        for page in PAGES
        for line, block in blocks(page, *words)
        for command in block.replace("\\\n", " ").splitlines()
        if command.strip() and command[0] != "#"
    ]


def bare(command: str) -> str:
    """A command without its comment."""
    return re.sub(r"\s+# .*$", "", command)


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text())
