"""`celery-statsd top` as a person uses it: in tmux, beside a real worker on a real Redis."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.conftest import running
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.servers.truth import Truth
from tests.servers.worker import Cluster
from tests.top.tmux import PATIENCE, PROGRAM, Terminal

FAST = "--interval 0.2 --lost-after 1"
COLUMNS = {
    "sent": "sent", "succeeded": "ok", "failed": "fail", "retried": "retr", "revoked": "revk",
}  # fmt: skip
"""The stages of the truth, and the columns that count them."""


class Scene:
    """A terminal of 50x200 with the view in it, and a cluster of one worker whose mixed workload is
    over; `truth` is what that itself has written down."""

    def __init__(self, cluster: Cluster, terminal: Terminal, url: str) -> None:
        self.terminal, self.cluster, self.url = terminal, cluster, url
        terminal.run(f"{PROGRAM} top -b {url} {FAST}")
        terminal.wait_for("celery-statsd top")
        self.worker = cluster.worker("fork.1", "prefork", ("q.any", "q.fork"))
        cluster.mix()
        self.truth: Truth = cluster.truth()
        self.name = f"fork.1@{os.uname().nodename}"


@pytest.fixture(scope="module")
def scene(
    redis_server: Redis,
    clusters: Callable[[str], Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """One for all tests of this file, which follow each other."""
    url, folder = redis_server.fresh_url(), tmp_path_factory.mktemp("top")
    with running(lambda: Terminal(folder, 50, 200)) as terminal:
        yield Scene(clusters(url), terminal, url)


def test_the_table_shows_what_really_happened(scene: Scene) -> None:
    """Each task's counts, to the unit, as the workload itself wrote them down."""

    def table() -> dict[str, Counter[str]]:
        rows = scene.terminal.rows(scene.truth.stages["sent"])
        return {
            stage: Counter({t: int(row[head]) for t, row in rows.items() if int(row[head])})
            for stage, head in COLUMNS.items()
        }

    expected = {stage: scene.truth.stages[stage] for stage in COLUMNS}
    wait_until(lambda: table() == expected, PATIENCE, f"{expected}\n{scene.terminal.text}")
    total = scene.terminal.row("all tasks")
    assert str(scene.truth.total("failed")) == total["fail"]
    assert ("0", "0") == (total["lost"], total["diff"])


def test_a_task_that_fails_is_looked_into(scene: Scene) -> None:
    """Found by its name, opened: its exceptions, with their number, their words and their place."""
    terminal = scene.terminal
    terminal.press("/", "o", "r", "d", "e", "r", "s", ".", "f", "a", "i", "l", "Enter")
    terminal.wait_for("/orders.fail")
    assert {} == terminal.row("mail.send")
    terminal.press("Enter")
    terminal.wait_for("exceptions, of failures and of retries")
    seen = terminal.text
    shown = {
        w[1]: int(w[0]) for w in map(str.split, seen.splitlines()) if len(w) == 2 and w[0].isdigit()
    }
    kinds = {"ValueError", "KeyError", "ZeroDivisionError", "OutOfStockError"}
    assert {kind: scene.truth.errors[kind] for kind in kinds} == shown
    assert "OutOfStockError('as asked')" in seen
    assert "workload.py" in seen
    terminal.press("Escape")
    terminal.wait_for(" task ")
    terminal.press("Escape")
    terminal.wait_for("mail.send")


def test_the_worker_and_the_queues_are_shown(scene: Scene) -> None:
    """Its state, its heart and what it did; their lengths."""
    terminal = scene.terminal
    terminal.press("Tab")
    wait_until(lambda: terminal.row(scene.name), PATIENCE, "the worker")
    row = terminal.row(scene.name)
    assert ("up", "0", "0") == (row["state"], row["lost"], row["unheard"])
    assert str(scene.truth.stages["succeeded"].total()) == row["ok"]
    assert float(row["beat"].rstrip("s")) < 10
    terminal.press("3")
    terminal.wait_for(" queue ")
    assert {"q.any", "q.fork"} == {
        line.split()[0] for line in terminal.lines if line.startswith(" q.")
    }


def test_a_smaller_terminal_shows_less_and_all_of_it_fits(scene: Scene) -> None:
    """From 50x200 to 24x80 while it runs, and back."""
    terminal = scene.terminal
    terminal.press("1")
    terminal.wait_for("wait50")
    terminal.resize(24, 80)
    terminal.wait_for(" in/s queue resv  run wait95  run95   ok fail lost diff")
    terminal.wait_for("q quit")
    assert 24 == len(terminal.lines)
    assert "q quit" in terminal.lines[-1]
    terminal.resize(50, 200)
    terminal.wait_for("wait50")


def test_suspended_and_taken_up_again_it_goes_on(scene: Scene) -> None:
    """Ctrl-Z gives the shell a sane terminal; after `fg` the screen is drawn anew."""
    terminal = scene.terminal
    terminal.press("C-z")
    terminal.wait_for_prompt()
    terminal.type("stty -a | grep -o ' icanon\\| echo ' | xargs echo sane:")
    terminal.wait_for("sane: icanon echo")
    terminal.type("fg")
    terminal.wait_for("all tasks")
    assert "down 0" in terminal.lines[2]  # our own silence is not the workers'


def test_a_killed_worker_and_its_lost_task_turn_the_head_red(scene: Scene) -> None:
    """In the first lines, by a sign as well: LOST, which worker, how many tasks."""
    terminal = scene.terminal
    scene.cluster.publish("tasks.encode.apply_async((60,), queue=tasks.FORK)")
    wait_until(lambda: terminal.row("media.encode").get("run") == "1", PATIENCE, "it runs")
    terminal.press("2", "Enter")
    terminal.wait_for("runs now, the longest first")
    terminal.wait_for("media.encode  ")
    terminal.press("Escape")
    terminal.press("1")
    scene.worker.kill()
    wait_until(lambda: terminal.row("media.encode").get("lost") == "1", PATIENCE, "it is lost")
    lost = terminal.row("all tasks")["lost"]  # what had ended without a word is lost as well
    assert terminal.lines[1].startswith("!LOST  ")
    assert f"{scene.name} down" in terminal.lines[1]
    assert f"!lost {lost} " in terminal.lines[2]
    assert "!down 1" in terminal.lines[2]
    assert f"41m!lost {lost}" in terminal.drawn  # white on red
    assert "0" == terminal.row("all tasks")["diff"]


ENDS = ("q", "C-c", "TERM", "HUP")


@pytest.fixture(scope="module")
def ended(
    redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Terminal]]:
    """A terminal for each of ENDS, in which the view was told to end so; all at the same time."""
    with ExitStack() as stack:
        terminals = {}
        for end in ENDS:
            folder = tmp_path_factory.mktemp("ended")
            terminal = stack.enter_context(running(partial(Terminal, folder)))
            url = redis_server.fresh_url()
            terminal.run(f"{PROGRAM} top -b {url} & echo $! >pid; fg >/dev/null")
            terminals[end] = terminal
        for end, terminal in terminals.items():
            terminal.wait_for("q quit")
            if end in ("TERM", "HUP"):
                pid = int((terminal.folder / "pid").read_text())
                os.kill(pid, getattr(signal, f"SIG{end}"))
            else:
                terminal.press(end)
        yield terminals


@pytest.mark.parametrize("end", ENDS)
def test_however_it_ends_it_leaves_the_terminal_clean(end: str, ended: dict[str, Terminal]) -> None:
    """By a key, Ctrl-C or a signal: code 0, the old screen, the cursor, the same settings."""
    terminal = ended[end]
    assert (0, True) == terminal.ended()
    assert "q quit" not in terminal.text
    assert "info broker_connected" in terminal.text
