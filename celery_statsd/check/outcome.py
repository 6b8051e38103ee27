"""The judgement on the way out: each sink, and what Graphite has of it."""

from collections.abc import Iterator

from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding, critical, ok, unknown, warning
from celery_statsd.check.graphite import Reading, Rollup, judged_form
from celery_statsd.check.outlets import Trial

_AGGREGATION = (
    "let the first rule of storage-aggregation.conf that fits \\.count$ be sum, xFilesFactor 0; "
    "mend old files by whisper-set-aggregation-method"
)
_SCHEMA = "let the first retention of storage-schemas.conf be the flush interval"


def sinks(facts: Facts) -> Iterator[Finding]:
    """Whether each sink takes what it is given, as far as it can know."""
    for trial in facts.trials:
        if trial.error:
            cure = "start what should listen there, or mend the address"
            said = trial.error.removeprefix(f"{trial.address}: ").partition(";")[0]
            yield critical("sink", trial.address, said, cure)
        elif not trial.sent:
            yield ok("sink", trial.address, "for people: nothing was sent")
        elif trial.scheme == "statsd" and facts.reading is None:
            said = "sent, and nobody refused it; UDP tells no more"
            yield ok("sink", trial.address, said, "--graphite URL reads it back")
        else:
            yield ok("sink", trial.address, "took what was sent")


def read_back(facts: Facts) -> Iterator[Finding]:
    """Whether what was sent arrived in Graphite, under the names the dashboards ask for."""
    reading = facts.reading
    if reading is None:
        return
    if reading.error:
        yield critical("graphite", reading.url, reading.error, "start it, or mend --graphite")
        return
    for trial in facts.trials:
        if trial.sent and not trial.error:
            yield _arrival(trial, reading)


def _arrival(trial: Trial, reading: Reading) -> Finding:
    name = reading.found.get(trial.number)
    if name is None:
        said = (
            f"{trial.value} was sent as {trial.path}, and is not there after {reading.waited:.0f} s"
        )
        cure = "see where its StatsD sends, and carbon's creates.log and MAX_CREATES_PER_MINUTE"
        return critical("graphite", trial.address, said, cure)
    unlike = judged_form(name, trial.path)
    if unlike:
        said = f"arrived as {name} ({unlike})"
        cure = (
            "set legacyNamespace: false and no globalPrefix in the StatsD, or mend the dashboards"
        )
        return warning("graphite", trial.address, said, cure)
    return ok("graphite", trial.address, f"arrived as {name} within {reading.waited:.1f} s")


def schema(facts: Facts) -> Iterator[Finding]:
    """Whether each flush has a point of its own in Graphite."""
    step = facts.reading.step if facts.reading else None
    interval = facts.expected.flush_interval
    if step is None:
        return
    if step > interval:
        said = f"one point each {step} s, one flush each {interval:g} s: the last one wins"
        yield critical("schema", "", f"{said}, counts are lost", _SCHEMA)
    elif step < interval / 2:
        said = f"one point each {step} s, one flush each {interval:g} s: most points are empty"
        yield ok("schema", "", said, _SCHEMA)
    else:
        yield ok("schema", "", f"one point each {step} s, one flush each {interval:g} s")


def aggregation(facts: Facts) -> Iterator[Finding]:
    """Whether counts stay sums where Graphite keeps them more coarsely."""
    if facts.reading is None or facts.reading.step is None:
        return
    if not facts.reading.rollups:
        yield ok("aggregation", "", "one archive: nothing is rolled up")
    for rollup in facts.reading.rollups:
        yield _rolled_up(rollup)


def _rolled_up(rollup: Rollup) -> Finding:
    if rollup.holes:
        said = f"{rollup.holes} points of {rollup.step} s are missing where finer ones are there"
        cure = "set xFilesFactor 0 in storage-aggregation.conf (or carbon is behind in writing)"
        return warning("aggregation", "", said, cure)
    if rollup.methods == {"sum"}:
        return ok("aggregation", "", f"counts are added up in points of {rollup.step} s")
    if "sum" not in rollup.methods:
        how = " or ".join(sorted(rollup.methods)) or "by no known rule"
        said = f"counts in points of {rollup.step} s are not the sum (but {how}): totals are wrong"
        return critical("aggregation", "", said, _AGGREGATION)
    said = f"there is not enough to compare in points of {rollup.step} s"
    return unknown("aggregation", "", said, "run this again when an agent has sent for long")
