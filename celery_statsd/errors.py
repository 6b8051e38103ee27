"""Each error, and who answers it.

| error       | raised by             | answered by                                           |
| ----------- | --------------------- | ----------------------------------------------------- |
| ConfigError | config, any address   | `cli.main`: the sentence on stderr, exit code 2       |
| BadEvent    | `events.decode`       | `pipeline.feed`: counted under its reason             |
| BrokerLost  | a source's own calls  | `source.base.Source.read`: logged once, opened again  |
| SinkDown    | `Sink.send`           | `outlet.Outlet`: logged once, counted; `replay.sent`  |
| BadTarget   | `dashboards.graphite` | `dashboards.evaluation`: told beside its panel        |
| StateLost   | `chronicle`           | itself: logged once, tried anew at each flush         |
"""


class CeleryStatsdError(Exception):
    """The parent of all errors of this package."""


class ConfigError(CeleryStatsdError):
    """A setting the agent cannot work with: the user's to mend.

    The message is one sentence: the key, its value, and the cure.
    """

    def __init__(self, key: str, problem: str, cure: str) -> None:
        super().__init__(f"{key}: {problem}; {cure}")
        self.key = key


class BadEvent(CeleryStatsdError):
    """A body no event can be made of. `reason` is one short word, fit for a ledger."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BrokerLost(CeleryStatsdError):
    """The broker cannot be reached, or the connection to it ended. The message holds no secret."""


class SinkDown(CeleryStatsdError):
    """A sink could not deliver now. What it may keep for later it has kept by then."""


class BadTarget(CeleryStatsdError):
    """A query that Graphite cannot evaluate. The message is its answer."""


class StateLost(CeleryStatsdError):
    """The journal cannot be written. The metrics go on without it."""
