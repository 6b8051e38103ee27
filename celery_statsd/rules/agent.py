"""The metrics of the agent itself: its ledger, its sinks, its weight. Whoever owns one sets it."""

from celery_statsd.metric import Kind
from celery_statsd.rules.base import Rule

FAMILY = ("agent",)


def _counter(metric: str, text: str) -> Rule:
    return Rule(metric, Kind.COUNTER, text, FAMILY)


def _gauge(metric: str, text: str, unit: str) -> Rule:
    return Rule(metric, Kind.GAUGE, text, FAMILY, unit)


RULES = (
    _counter("ticks", "1 a flush: a counter, since a StatsD repeats the gauges of the dead."),
    _counter("events", "Events taken in: counted + doubled + bad + dropped."),
    _counter("events_counted", "Events that became metrics."),
    _counter("events_doubled", "Equal events that came once more."),
    _counter("events_bad", "Bodies or parts of them that no event can be made of."),
    _counter("events_dropped", "Events that are not Celery's own, and second ends of one attempt."),
    _counter("events_unmatched", "Attempts adopted whose task was never seen; named `unknown`."),
    _counter("events_lost", "Starts that workers counted whose event never came."),
    _counter("messages_foreign", "Messages of other hosts, left alone (scope: host)."),
    _counter("forgotten", "Tasks, workers and names of queues the bounds of memory have cost."),
    _counter("timers_clamped", "Durations that clocks made negative (sent as 0) or absurd."),
    _counter("series_folded", "Values that went to `other` past the ceiling of series."),
    _counter("names_hashed", "Entities whose safe name was taken: theirs ends in a hash."),
    _counter("sink_errors", "Failed sends."),
    _counter("sink_dropped", "Values a sink had to give up."),
    _counter("sink_overrun", "Datagrams a StatsD on this host had no room for, whoever sent them."),
    _counter("sink_packets", "Datagrams, or writes to a stream."),
    _counter("sink_bytes", "Bytes sent."),
    _counter("flushes_given_up", "Flushes a sink lacked when the journal reached its bound."),
    _gauge("backlog", "Messages that wait for us in our own queue.", "messages"),
    _gauge("attempts", "Tasks in memory that wait or run.", "tasks"),
    _gauge("series", "Series written at each flush.", "series"),
    _gauge("rss_bytes", "Resident memory.", "bytes"),
    _gauge("cpu_ms", "Processor time used since the start.", "ms"),
    _gauge("uptime_s", "Since the start.", "s"),
    Rule("event_lag", Kind.TIMER, "From the making of an event to its arrival.", FAMILY, "ms"),
    Rule("flush", Kind.TIMER, "Making one batch.", FAMILY, "ms"),
)
