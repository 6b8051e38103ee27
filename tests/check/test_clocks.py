"""Clocks, zones and gossip, judged on made values."""

import pytest

from celery_statsd.check import clocks
from celery_statsd.check.facts import Facts
from tests.check.made import W1, beats, conf, facts, rows, voice

W2 = "w2@web2"


@pytest.mark.parametrize(
    ("lag", "severity", "side"),
    [
        (0.9, "ok", ""),
        (-0.9, "ok", ""),
        (-3.0, "warning", "3.0 s ahead"),
        (3.0, "warning", "3.0 s behind"),
        (-3600.0, "critical", "3600.0 s ahead"),
    ],
)
def test_a_clock_is_measured(lag: float, severity: str, side: str) -> None:
    """By the least time from the making of an event to its coming."""
    (found,) = clocks.clocks(facts(voice(lag=lag)))

    assert severity == found.severity.word
    assert side in found.sentence


def test_a_host_has_one_clock() -> None:
    """The worker heard soonest tells it."""
    found = clocks.clocks(facts(voice(lag=2.0), voice("w9@web1", lag=0.1), voice(W2, lag=9.0)))

    assert [("warning", "clocks", "web2")] == rows(found)


def test_zones_are_told_when_there_are_several() -> None:
    """With who stands where."""
    (_, found) = clocks.zones(facts(voice(west=5.0), voice(W2, west=-5.5)))

    assert "warning" == found.severity.word
    assert f"UTC-5: {W1}" in found.sentence
    assert f"UTC+5.5: {W2}" in found.sentence


def test_one_zone_is_well() -> None:
    """Whichever it is."""
    assert "UTC+1" in list(clocks.zones(facts(voice(west=-1.0))))[1].sentence


def test_local_times_are_told_of_those_who_reckon_so() -> None:
    """By their settings."""
    answers = {W1: conf(enable_utc=False), W2: conf()}
    found = list(clocks.zones(facts(voice(west=0.0), answers=answers)))

    assert [("warning", "enable_utc", ""), ("ok", "zones", "")] == rows(found)
    assert f"{W1}: enable_utc is off" in found[0].sentence


def test_gossip_off_does_no_harm_here() -> None:
    """It is said, with what the agent does then."""
    with_it, without = voice(), voice(W2, beats=beats(2, 4, 6, moves=0))
    off, on = clocks.gossip(facts(with_it, without))

    assert ("ok", "ok") == (off.severity.word, on.severity.word)
    assert off.sentence.startswith(f"{W2}: no gossip")
    assert on.sentence.startswith(f"{W1}: on")


def test_too_few_heartbeats_tell_nothing_of_gossip() -> None:
    """Listen longer."""
    assert [("unknown", "gossip", "")] == rows(clocks.gossip(facts(voice(beats=beats(2, 4)))))
    assert [] == rows(clocks.gossip(Facts()))
