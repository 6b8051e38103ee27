"""Timers as a few gauges: to the byte, at a real StatsD, and what becomes of them in silence."""

from dataclasses import replace

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.measures import measures
from celery_statsd.sinks.summary import Summary, values_or_measures
from tests.conftest import running
from tests.servers.process import wait_until
from tests.servers.statsd import StatsD

PATH = "task.add.runtime"


def gauges(batch):
    """What a batch says, by path."""
    return {series.path: value for series, value in batch.gauges}


def test_a_timer_becomes_gauges(datagrams, sink_at, make):
    """Beside the other gauges, and nothing of its values is sent."""
    receiver = datagrams()
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?timers=mean,upper_50,upper")
    timing = make.timing([1.0, 2.0, 6.0], count=3)
    sink.send(make.batch({"task.add.sent": 3}, {"task.add.queued": 7}, {PATH: timing}))

    (told,) = receiver.take(1)
    assert [
        "task.add.sent:3|c",
        "task.add.queued:7|g",
        f"{PATH}.mean:3|g",
        f"{PATH}.upper_50:2|g",
        f"{PATH}.upper:6|g",
    ] == told.splitlines()


@pytest.mark.parametrize("scheme", ["statsd", "statsd+tcp"])
def test_a_real_statsd_has_them_as_gauges(scheme, tmp_path, make):
    """And no timer; what has fallen silent stands at 0."""
    with running(lambda: StatsD(tmp_path, 3600)) as server:
        sink = sink_from(f"{scheme}://127.0.0.1:{server.port}?timers=summary")
        values = [float(value) for value in range(1, 201)]
        sink.send(make.batch({"t.a.s": 1}, timers={"t.a.r": values, "t.b.r": [4.0]}))
        sink.send(make.batch({"t.a.s": 1}, timers={"t.b.r": [5.5]}))
        sink.close()
        wait_until(lambda: server.counters().get("t.a.s") == 2, 10, "both are there")
        wait_until(lambda: server.gauges().get("t.b.r.upper_99") == 5.5, 10, "all of them")
        heard, timers = server.gauges(), server.timers()
    names = ("mean", "lower", "upper", "median", "upper_90", "upper_95", "upper_99")
    assert dict.fromkeys(names, 0.0) == {name: heard[f"t.a.r.{name}"] for name in names}
    assert dict.fromkeys(names, 5.5) == {name: heard[f"t.b.r.{name}"] for name in names}
    assert {} == timers


def test_who_falls_silent_is_told_as_0_once(make):
    """A StatsD repeats a gauge; 0 is what it may repeat."""
    summary = Summary(measures("mean,upper"))
    counters = {"task.add.sent": 0}
    summary.of(make.batch(counters, timers={PATH: [4.0], "task.sub.runtime": [5.0]}))
    second = summary.of(make.batch(counters, timers={"task.sub.runtime": [6.0]}))
    third = summary.of(make.batch(counters))
    fourth = summary.of(make.batch(counters))
    fifth = summary.of(make.batch(counters, timers={PATH: [7.0]}))

    assert {
        "task.sub.runtime.mean": 6.0,
        "task.sub.runtime.upper": 6.0,
        f"{PATH}.mean": 0.0,
        f"{PATH}.upper": 0.0,
    } == gauges(second)
    assert {"task.sub.runtime.mean": 0.0, "task.sub.runtime.upper": 0.0} == gauges(third)
    assert {} == gauges(fourth)
    assert {f"{PATH}.mean": 7.0, f"{PATH}.upper": 7.0} == gauges(fifth)


def test_a_batch_that_does_not_speak_of_a_family_says_nothing_of_its_timers(make):
    """An agent's own vitals go out between two flushes of the cluster."""
    summary = Summary(measures("mean"))
    summary.of(make.batch({"task.add.sent": 0}, timers={PATH: [4.0]}))

    assert {} == gauges(summary.of(make.batch({"agent.web1.events": 3})))
    assert {f"{PATH}.mean": 0.0} == gauges(summary.of(make.batch({"task.add.sent": 0})))


def test_at_the_end_all_is_0(make):
    """Also what the last interval timed: nothing comes after it."""
    summary = Summary(measures("mean"))
    summary.of(make.batch({"task.add.sent": 0}, timers={PATH: [4.0]}))
    last = make.batch({"task.add.sent": 0}, timers={"task.sub.runtime": [5.0]})

    found = gauges(summary.of(replace(last, last=True)))
    assert {f"{PATH}.mean": 0.0, "task.sub.runtime.mean": 0.0} == found


def test_a_percentile_of_none_is_left_out(make):
    """As StatsD leaves it out."""
    summary = Summary(measures("upper_10"))
    assert {} == gauges(summary.of(make.batch(timers={PATH: [1.0, 2.0, 3.0, 4.0]})))


def test_the_usual_measures_are_those_a_statsd_makes_of_a_timer():
    """And `values` is none of them."""
    names = [name for name, _ in values_or_measures("summary")]
    assert ["mean", "lower", "upper", "median", "upper_90", "upper_95", "upper_99"] == names
    assert () == values_or_measures("values")


def test_a_measure_that_there_is_not_is_told():
    """With the address, and the default."""
    with pytest.raises(ConfigError, match=r"timers='average' is not values_or_measures"):
        sink_from("statsd://127.0.0.1?timers=average")
