"""What time it is elsewhere: clocks, zones, and the gossip that brings Lamport clocks together.

What these examinations find harms Celery's own tools more than the agent, and they say so: it takes
timestamps as they are, true epochs, and measures each host's clock itself.
"""

from collections import defaultdict
from collections.abc import Iterator

from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding, critical, listed, ok, unknown, warning
from celery_statsd.clocks import NOISE

WRONG = 16.0
"""Seconds from which Celery itself warns of a clock (celery.events.state)."""

_NTP = "let NTP set it"


def clocks(facts: Facts) -> Iterator[Finding]:
    """How far each host's clock is from ours, measured by what came first after its making."""
    lags: dict[str, float] = {}
    for voice in facts.heard.voices.values() if facts.heard else ():
        if voice.lag is not None:
            lags[voice.host] = min(voice.lag, lags.get(voice.host, voice.lag))
    for host, lag in sorted(lags.items()):
        if abs(lag) <= NOISE:
            continue
        said = (
            f"its clock is {abs(lag):.1f} s {'behind' if lag > 0 else 'ahead'}, or its events late"
        )
        if abs(lag) > WRONG:
            yield critical(
                "clocks", host, f"{said}: durations across hosts are corrected by it", _NTP
            )
        else:
            yield warning("clocks", host, said, _NTP)
    if lags and all(abs(lag) <= NOISE for lag in lags.values()):
        farthest = max(map(abs, lags.values()))
        yield ok("clocks", "", f"{listed(lags)}: within {farthest:.2f} s of ours")


def zones(facts: Facts) -> Iterator[Finding]:
    """In which zones the workers live, and whether they reckon in UTC."""
    by_zone: dict[float, list[str]] = defaultdict(list)
    for voice in facts.heard.voices.values() if facts.heard else ():
        if voice.west is not None:
            by_zone[voice.west].append(voice.name)
    local = sorted(name for name, conf in facts.confs.items() if conf.get("enable_utc") is False)
    if local:
        said = f"{listed(local)}: enable_utc is off, so times without a zone are read as local ones"
        yield warning("enable_utc", "", said, "set enable_utc = True everywhere")
    elif facts.confs:
        yield ok("enable_utc", "", "on everywhere")
    if len(by_zone) > 1:
        told = "; ".join(
            f"{_zone(west)}: {listed(names)}" for west, names in sorted(by_zone.items())
        )
        said = f"workers stand in {len(by_zone)} zones ({told}). Numbers here do not care"
        cure = "Celery's own receivers shift times by the difference: set one zone (TZ) for all"
        yield warning("zones", "", said, cure)
    elif by_zone:
        yield ok("zones", "", f"all workers stand in {_zone(next(iter(by_zone)))}")


def _zone(west: float) -> str:
    """UTC-5 for 5 hours west."""
    return f"UTC{-west:+g}" if west else "UTC"


def gossip(facts: Facts) -> Iterator[Finding]:
    """Whose Lamport clocks are brought together. Nothing here depends on it."""
    voices = [v for v in (facts.heard.alive if facts.heard else ()) if v.beats]
    without = [voice.name for voice in voices if voice.gossips is False]
    having = [voice.name for voice in voices if voice.gossips]
    if without:
        said = (
            f"{listed(without)}: no gossip (--without-gossip), so logical clocks drift apart; the "
            "agent orders by timestamps and arrivals instead"
        )
        yield ok("gossip", "", said)
    if having:
        yield ok("gossip", "", f"{listed(having)}: on, their logical clocks are brought together")
    if voices and not without and not having:
        yield unknown("gossip", "", "too few heartbeats to tell", "listen longer: --seconds")
