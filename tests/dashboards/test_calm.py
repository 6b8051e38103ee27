"""A healthy system at load: no tile is red and no rule fires, for as long as `CALM_SECONDS` says
(`make calm`: an hour), and what was counted is what was done.
"""

import json
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import running
from tests.dashboards.stage import APP, DELAY, PATIENCE, RATE, Stage
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(0)]

CALM = float(os.environ.get("CALM_SECONDS", "30"))
"""How long it is looked at, in seconds."""

EVERY = 5.0
"""Seconds from look to look."""

STAGES = ("sent", "received", "started", "succeeded", "retried")

ILL = "failed,revoked,rejected,returned,unreported,lost,on_arrival,found,expired,unseen"
"""What is not to be counted at all."""


def test_nothing_is_red_and_no_rule_fires(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """At no look; and to the unit, all that was done was counted."""
    with running(lambda: Stage(tmp_path, rabbitmq.fresh_url())) as stage:
        began = time.time()
        looks, alarms = watched(stage, began + CALM)
        stage.end_load()
        wait_until(lambda: over(tally(stage)), PATIENCE, "all that was sent is over", poll=1.0)
        done, seconds = tally(stage), int(time.time() - began) + 300

        def counted() -> Counter[str]:
            return Counter({name: total(stage, name, seconds) for name in STAGES})

        with suppress(TimeoutError):  # what is missing is told below
            wait_until(lambda: counted() == done, PATIENCE, "all is counted", poll=1.0)
        assert done == counted()
        ill = total(stage, f"{{{ILL}}}", seconds)
    print(f"{looks} looks in {CALM:g} s, {len(alarms)} alarms, {RATE:g} messages/s: {dict(done)}")
    assert ([], 0) == (alarms, ill)


def watched(stage: Stage, until: float) -> tuple[int, list[str]]:
    """The number of looks, and each alarm in a line."""
    looks, alarms = 0, []
    while time.time() < until:
        due = time.time() + EVERY
        look, rules, looks = stage.look(), stage.judged(), looks + 1
        took = time.time() - due + EVERY
        if look.red or look.bad or rules:
            reds = {title: look.numbers[title] for title in sorted(look.red | look.bad)}
            told = {name: state.value for name, state in rules.items()}
            late = f"load {os.getloadavg()[0]:.1f}, {took:.1f} s for the look at {look.at + DELAY}"
            print(alarm := f"{time.time():.0f} {reds} {told} ({late})", flush=True)
            alarms.append(alarm)
        if looks % 60 == 0:
            print(f"{looks} looks; the last took {took:.1f} s", flush=True)
        wait_until(lambda due=due: time.time() >= due, EVERY + 5, "the next look")  # type: ignore[misc]
    return looks, alarms


def over(done: Counter[str]) -> bool:
    """Whether each attempt that was sent has ended."""
    return done["sent"] == done["succeeded"] + done["retried"]


def total(stage: Stage, metric: str, seconds: int) -> int:
    """A counter's sum in Graphite."""
    target = f"sumSeries(stats.counters.celery.{APP}.cluster.all.{metric}.all.count)"
    return round(stage.graphite.total(target, seconds))


def tally(stage: Stage) -> Counter[str]:
    """What was done, by those who did it."""
    told: Counter[str] = Counter()
    with stage.cluster.path.open() as rows:
        for row in map(json.loads, rows):
            retried = row["what"] == "raised" and row["error"] == "Retry"
            told["retried" if retried else row["what"]] += 1
    words = {"sent": "sent", "received": "received", "started": "entered"}
    words |= {"succeeded": "success", "retried": "retried"}
    return Counter({stage: told[word] for stage, word in words.items()})
