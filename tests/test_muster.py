"""`celery-statsd workers`: the same facts for people, for programs and for cron."""

import io
import json
from typing import Any, cast

import pytest

from celery_statsd.errors import AskRefused, BrokerLost, ConfigError
from celery_statsd.log import Log
from celery_statsd.muster import Muster, Neighbour, as_json, as_table, rows, verdict
from celery_statsd.window import Window
from tests.bodies import Process, body
from tests.servers.process import free_port
from tests.test_agent import Stream, message

UP = {"state": "up", "pool_size": 4.0, "active": 1, "reserved": 2, "processed": 7}


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({}, 2),
        ({"a": UP}, 0),
        ({"a": {"state": "left"}}, 0),
        ({"a": {"state": "unknown"}}, 1),
        ({"a": {"state": "unknown", "pool_size": 4.0}}, 0),
        ({"a": UP, "b": {**UP, "flapping": 1.0}}, 1),
        ({"a": UP, "b": {"state": "down", "flapping": 1.0}, "c": {"state": "unknown"}}, 2),
        ({"a": {}}, 1),
    ],
)
def test_the_worst_worker_is_the_exit_code(told: dict[str, Any], code: int) -> None:
    """That there is none is as bad as one who is dead."""
    assert code == verdict(rows(told))


def test_json_is_names_and_facts() -> None:
    """As /workers has them."""
    assert {"a": UP} == json.loads(as_json(rows({"a": UP})))


def test_the_table_is_aligned_and_coloured() -> None:
    """By what is thought of each."""
    told = {
        "celery@b": {"state": "down", "heartbeat_age_s": 190.0},
        "a": {
            **UP,
            "scheduled": 0,
            "heartbeat_age_s": 1.5,
            "loadavg_1m": 0.5,
            "queues": ["x", "y"],
        },
    }
    lines = list(as_table(rows(told)))
    assert [
        "worker    state  active  pool  reserved  for an ETA  processed  last beat  load  queues",
        "a         up          1     4         2           0          7       1.5s  0.50  x, y",
        "celery@b  down        -     -         -           -          -      3m10s     -  -",
    ] == [line for line, _ in lines]
    assert [None, "green", "red"] == [colour for _, colour in lines]


def test_an_agent_is_asked_at_its_window() -> None:
    """One that does not answer is nobody's word."""
    window = Window("127.0.0.1:0", {"/workers": lambda: (200, {"workers": {"a": UP}})})
    window.open()
    try:
        assert {"a": UP} == Neighbour(f"127.0.0.1:{window.port}").tell()
    finally:
        window.close()
    with pytest.raises(BrokerLost, match="no agent answers"):
        Neighbour(f"127.0.0.1:{free_port()}").tell()
    with pytest.raises(ConfigError, match="http: "):
        Neighbour("nonsense:port").tell()


class Voice:
    """Answers for a worker that was never heard, or refuses."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def ask(self, *_: Any) -> dict[str, Any]:
        if self._error:
            raise self._error
        return {"b": {"active_queues": [{"name": "etl"}]}}

    def hang_up(self) -> None:
        """Nothing to do."""


def test_without_an_agent_it_listens_and_asks_by_itself() -> None:
    """Who is heard, and who answers."""
    source = Stream(Log(stream=io.StringIO()))
    source.waiting.append(message(body(Process("a").beat(0.0, 7))))
    source.waiting.append(message(b"rubbish", kind="application/x-python-serialize"))
    muster = Muster(source, cast("Any", Voice()), 0.3)
    told = muster.tell()
    assert {"a": "up", "b": "unknown"} == {name: facts["state"] for name, facts in told.items()}
    assert ("etl",) == told["b"]["queues"]
    muster.close()
    assert source.left


def test_a_refusal_costs_the_answers_alone() -> None:
    """It is told."""
    source = Stream(Log(stream=io.StringIO()))
    source.waiting.append(message(body(Process("a").beat(0.0, 7))))
    muster = Muster(source, cast("Any", Voice(AskRefused("access refused"))), 0.3)
    assert ["a"] == list(muster.tell())
    assert "access refused" == muster.refusal


def test_a_broker_that_is_gone_is_told() -> None:
    """Then nobody knows anything."""
    source = Stream(Log(stream=io.StringIO()))
    source.up = False
    with pytest.raises(BrokerLost, match="cannot be listened to"):
        Muster(source, None, 0.3).tell()
