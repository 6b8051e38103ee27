"""What can be set: one table of keys, each with its kind, its default and its spellings.

The file, the environment, the command line and their help are all made from `KEYS`; `Settings`
is the shape in which the values reach the agent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery_statsd.kinds import (
    ADDRESS,
    ADDRESSES,
    COUNT,
    FILE,
    LEVELS,
    MAPPING,
    NAMES,
    PLACE,
    SECONDS,
    SWITCH,
    TEMPLATE,
    TEXT,
    Kind,
    choice,
    number,
    whole,
)
from celery_statsd.log import LEVELS as LOG_LEVELS
from celery_statsd.log import masked

VARIABLE_HEAD = "CELERY_STATSD_"
"""What the name of each environment variable begins with."""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: a row of `KEYS`. `help` has the unit and the meaning.

    A `rival` says the same thing in another way: the stronger layer's wins, and one layer may not
    use both. A key and its `partner` mean something together only.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    aliases: tuple[str, ...] = ()
    secret: bool = False
    rival: str | None = None
    partner: str | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """How the command line spells it, the long form last; click understands each.

        Give click `default=None` too, or a switch that is not given reads as false.
        """
        return self.aliases or (self.kind.flag.format(self.name.replace("_", "-")),)

    @property
    def repeatable(self) -> bool:
        """Whether the flag may be given several times."""
        return self.kind.repeatable

    @property
    def variable(self) -> str:
        """How the environment spells it."""
        return VARIABLE_HEAD + self.name.upper()


KEYS = (
    Key(
        "broker",
        ADDRESSES,
        ("amqp://guest:guest@127.0.0.1:5672//",),
        "The broker's URLs, tried in their order. A password in the flag is moved out of the "
        "process list; broker_file keeps it out of the environment too.",
        ("-b", "--broker"),
        secret=True,
        rival="broker_file",
    ),
    Key(
        "broker_file",
        TEXT,
        None,
        "A file that holds the broker's URLs, one a line; nobody else may be able to read it.",
        rival="broker",
    ),
    Key(
        "celery_app",
        TEXT,
        None,
        "Your Celery app (package.module:app): the broker settings not given here come from it.",
        ("-A", "--celery-app"),
    ),
    Key("tls", SWITCH, False, "Speak TLS with the broker; amqps:// and rediss:// imply it."),
    Key("tls_verify", SWITCH, True, "Verify the broker's certificate and its name."),
    Key("tls_ca_file", FILE, None, "The authorities to trust (PEM); the system's when not set."),
    Key(
        "tls_cert_file",
        FILE,
        None,
        "Our certificate (PEM), for a broker that asks for one.",
        partner="tls_key_file",
    ),
    Key(
        "tls_key_file",
        FILE,
        None,
        "The private key of tls_cert_file (PEM).",
        partner="tls_cert_file",
    ),
    Key("tls_server_name", TEXT, None, "The name to expect in the certificate, if not the host's."),
    Key(
        "transport_options",
        MAPPING,
        {},
        "Options of kombu's transport, as in Celery's broker_transport_options.",
        secret=True,
    ),
    Key("event_exchange", TEXT, "celeryev", "The exchange of the events (event_exchange)."),
    Key("event_queue_prefix", TEXT, "celeryev", "The head of the event queue's name."),
    Key(
        "group",
        TEXT,
        None,
        "On RabbitMQ: agents of one group share one queue and count each event once; two groups "
        "each get every event. The value of app when not set.",
    ),
    Key(
        "event_queue_type",
        choice("quorum", "classic", "transient"),
        "quorum",
        "On RabbitMQ: quorum outlives the agent and the broker, classic the agent alone, "
        "transient neither.",
    ),
    Key(
        "large_reads",
        SWITCH,
        True,
        "On RabbitMQ: take many messages off the socket at once; off: one by one, by py-amqp, at "
        "many times the cost.",
    ),
    Key(
        "scope",
        choice("cluster", "host"),
        "cluster",
        "What this agent counts: the cluster (of several agents on RabbitMQ or Redis one speaks), "
        "or what the workers and clients of its own host say.",
    ),
    Key(
        "partitions",
        whole(1, 1000),
        1,
        "On RabbitMQ: the workers are shared out among so many agents, by a consistent hash of "
        "their names. The same for all of them.",
    ),
    Key(
        "partition",
        whole(1, 1000),
        None,
        "The number of this agent's part, from 1; several of one number stand by for each other.",
    ),
    Key(
        "probes",
        SWITCH,
        True,
        "Look at the queues: how long they are, who takes from them. On RabbitMQ and Redis.",
    ),
    Key("probe_interval", SECONDS, 10.0, "Seconds between two looks at the queues."),
    Key(
        "queues",
        NAMES,
        (),
        "Queues to look at from the start (those the app declares when not set), beside those that "
        "tasks are seen to be sent to (remembered in state_dir) and those that management tells.",
        ("-Q", "--queues"),
    ),
    Key(
        "queue_levels",
        LEVELS,
        {"default": [100, 500, 1000]},
        "Messages from which a queue's level is 1 (fine), 2 (be careful) and 3 (bad), by queue; "
        "default holds for all others.",
    ),
    Key(
        "inspect_interval",
        number(0, 86_400, "a number of seconds (0: never)"),
        60.0,
        "Seconds between two times the workers are asked what they do (queues, size of the pool, "
        "what they hold); 0: never.",
    ),
    Key(
        "control_exchange",
        TEXT,
        "celery",
        "The exchange by which workers are asked (control_exchange).",
    ),
    Key(
        "management",
        ADDRESS,
        None,
        "RabbitMQ's management API, for what only it knows: messages that workers hold, memory, "
        "the age of the oldest, all connections.",
        secret=True,
    ),
    Key(
        "management_all_vhosts",
        SWITCH,
        False,
        "With management: look at the durable queues of all vhosts that its user may see; those of "
        "others are called vhost/queue.",
    ),
    Key(
        "sinks",
        ADDRESSES,
        ("statsd://127.0.0.1:8125",),
        "Where the metrics go, one address a sink.",
        ("--sink",),
    ),
    Key(
        "http",
        PLACE,
        None,
        "host:port to answer at, with JSON: /healthz, /livez, /queues, /workers, /findings, "
        "/status. Closed when not set.",
    ),
    Key("prefix", TEXT, "celery", "The first node of every metric's name."),
    Key("app", TEXT, "default", "The name of this Celery cluster in the metrics: the second node."),
    Key("flush_interval", SECONDS, 10.0, "Seconds between two flushes."),
    Key(
        "host",
        TEXT,
        None,
        "The agent's own name in the agent family; this machine's short name when not set.",
    ),
    Key(
        "state_dir",
        TEXT,
        None,
        "A folder for what must survive a restart; none, unless systemd gives one "
        "(STATE_DIRECTORY).",
    ),
    Key("max_attempts", COUNT, 100_000, "Task attempts remembered at once."),
    Key("max_series", COUNT, 100_000, "Series kept at once; the rest is folded into one."),
    Key("max_workers", COUNT, 5_000, "Workers remembered at once."),
    Key("reservoir", COUNT, 1_000, "Timer values kept for each series and flush."),
    Key(
        "lost_after",
        SECONDS,
        30.0,
        "Seconds from knowing that a worker is gone to counting what it held as lost.",
    ),
    Key(
        "worker_silence",
        number(1, 1000, "a number of heartbeat intervals"),
        2.0,
        "How many of its own heartbeat intervals a worker may be silent before it is down.",
    ),
    Key(
        "worker_template",
        TEMPLATE,
        None,
        "Names of workers that are one in the metrics: deployment, statefulset or pods, as "
        "Kubernetes names them, or a regular expression whose groups become *.",
    ),
    Key(
        "unreported_after",
        SECONDS,
        60.0,
        "Seconds a living worker may deny a task before the task is counted as unreported.",
    ),
    Key("log_level", choice(*LOG_LEVELS), "info", "The least grave events to log."),
    Key("log_format", choice("text", "json"), "text", "How a log line looks."),
)
"""Every setting: the one truth for the file, the environment, the flags and their help."""


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What the agent shall do: an attribute for each of `KEYS`, which has meanings and units.

    `broker` holds the URLs of `broker_file` when that is in force. `origins` tells of each key
    where its value comes from, `file` which file was read.
    """

    broker: tuple[str, ...]
    broker_file: str | None
    celery_app: str | None
    tls: bool
    tls_verify: bool
    tls_ca_file: str | None
    tls_cert_file: str | None
    tls_key_file: str | None
    tls_server_name: str | None
    transport_options: Mapping[str, Any]
    event_exchange: str
    event_queue_prefix: str
    group: str | None
    event_queue_type: str
    large_reads: bool
    scope: str
    partitions: int
    partition: int | None
    probes: bool
    probe_interval: float
    queues: tuple[str, ...]
    queue_levels: Mapping[str, Sequence[int]]
    inspect_interval: float
    control_exchange: str
    management: str | None
    management_all_vhosts: bool
    sinks: tuple[str, ...]
    http: str | None
    prefix: str
    app: str
    flush_interval: float
    host: str | None
    state_dir: str | None
    max_attempts: int
    max_series: int
    max_workers: int
    reservoir: int
    lost_after: float
    worker_silence: float
    worker_template: str | None
    unreported_after: float
    log_level: str
    log_format: str
    origins: Mapping[str, str]
    file: str | None

    def shown(self) -> list[tuple[str, Any, str]]:
        """Each key, its value without secrets, and its origin."""
        return [(key.name, masked(getattr(self, key.name)), self.origins[key.name]) for key in KEYS]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value, _ in self.shown())})"
