"""Each error, and who answers it.

| error        | raised by             | answered by                                            |
| ------------ | --------------------- | ------------------------------------------------------ |
| ConfigError  | config, any address   | `cli.tell`: the sentence on stderr, exit code 2        |
| BadEvent     | `events.decode`       | `pipeline.feed`: counted under its reason              |
| BrokerLost   | a source's own calls  | `source.base.Source.read`: logged once, opened again   |
| AskRefused   | `probes.workers`      | `interview`: logged, counted; the workers' facts lack  |
| SinkDown     | `Sink.send`, `check`  | `outlet.Outlet`: logged once, counted; `replay.sent`,  |
|              |                       | `turnstile`: logged once; `check.outlets`: a finding   |
| StateLost    | `chronicle`           | itself: logged once, tried anew at each flush          |
| GraphiteAway | `graphite`            | as a ConfigError; `alerts.check`: exit code 3;         |
|              |                       | `check.graphite`: a finding                            |
| BadTarget    | `graphite`            | whoever asked: told beside its panel, or of its rule   |
"""


class CeleryStatsdError(Exception):
    """The parent of all errors of this package."""


class ConfigError(CeleryStatsdError):
    """A setting the agent cannot work with: the user's to mend.

    The message is one sentence: the key, its value, and the cure.
    """

    def __init__(self, key: str, problem: str, cure: str) -> None:
        super().__init__(f"{key}: {problem}; {cure}")
        self.key, self.problem = key, problem


class BadEvent(CeleryStatsdError):
    """A body no event can be made of. `reason` is one short word, fit for a ledger."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BrokerLost(CeleryStatsdError):
    """The broker cannot be reached, or the connection to it ended. The message holds no secret."""


class AskRefused(CeleryStatsdError):
    """The broker does not let this user ask the workers. The message holds no secret."""


class SinkDown(CeleryStatsdError):
    """A sink could not deliver now. What it may keep for later it has kept by then."""


class BadTarget(CeleryStatsdError):
    """A query that Graphite cannot evaluate. The message is its answer."""


class StateLost(CeleryStatsdError):
    """The journal cannot be written. The metrics go on without it."""


class GraphiteAway(ConfigError):
    """A Graphite cannot be asked. The message holds no password."""
