"""What workers answer when they are asked: Celery's remote control, without Celery.

A question is a message to the fan-out exchange `<control_exchange>.pidbox`; each worker sends its
answer to the queue the question names (kombu.pidbox: `Mailbox._publish`, `Node.reply`).

Laws:
1. All questions are sent at once, and the answers are collected within one timeout.
2. Who does not answer is absent. That tells nothing: busy and solo workers do not answer.
3. Nothing stays at the broker: the queue of the answers goes with the connection (RabbitMQ), or
   ends by itself within seconds (Redis); a question that nobody took in time expires (RabbitMQ).
4. Nothing is asked for that changes a worker, but for `enable_events`.
"""

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.serialization import loads

from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.source import probed
from celery_statsd.source.base import Broker

QUESTIONS = frozenset(
    (
        *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered"),
        *("report", "reserved", "revoked", "scheduled", "stats"),
    )
)
"""What may be asked: commands of celery.worker.control that only read."""

MAILBOXES = {
    "amqp": "celery_statsd.probes.amqp_mailbox:AmqpMailbox",
    "amqps": "celery_statsd.probes.amqp_mailbox:AmqpMailbox",
    "redis": "celery_statsd.probes.redis_mailbox:RedisMailbox",
    "rediss": "celery_statsd.probes.redis_mailbox:RedisMailbox",
    "sentinel": "celery_statsd.probes.redis_mailbox:RedisMailbox",
}
"""Transport -> where its mailbox is."""

ACCEPTED = ("application/json",)
"""How an answer may be serialized: never by pickle, whatever the worker's settings are."""

_loads: Any = loads  # untyped

QUIET = 1.0
"""Seconds without an answer after which those who were not expected have none to give."""

Answers = dict[str, dict[str, Any]]
"""Hostname -> question -> answer, as the worker gave it."""

Questions = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""What is asked, each with its arguments if there are any."""


Digest = Callable[[str, Any], Any]
"""A question and its answer -> what is kept of it."""


def whole(question: str, reply: Any) -> Any:  # noqa: ARG001
    """All of an answer."""
    return reply


class Letter(NamedTuple):
    """One answer as it came: the ticket of its question, how its body is written, and the body."""

    ticket: str
    content_type: str
    content_encoding: str
    body: Any


class Mailbox(ABC):
    """A connection on which questions are sent, and answers come. Its methods raise BrokerLost, and
    AskRefused when this user may not."""

    reply_to: Mapping[str, str]
    """The exchange and the routing key of the answers."""

    @classmethod
    @abstractmethod
    def choices(cls, broker: Broker) -> Sequence[str]:
        """The URLs to try. Raises ConfigError for what cannot be asked for."""

    @classmethod
    @abstractmethod
    def opened(cls, broker: Broker, url: str, exchange: str) -> AbstractContextManager["Mailbox"]:
        """One at `url`, for questions to that exchange, as long as it is needed."""

    @abstractmethod
    def send(self, message: Mapping[str, Any], expires: float) -> None:
        """Give `message` to every worker that takes it within `expires` seconds."""

    @abstractmethod
    def letters(self, deadline: float) -> Iterator[Letter | None]:
        """The answers that come until `deadline` (monotonic seconds); None now and then."""


class Inspector:
    """Asks the workers of `broker`, on a connection of its own for each time. `control_exchange` is
    Celery's setting of that name. `unreadable` counts the answers that could not be read.

    Raises ConfigError for a transport by which nobody can be asked.
    """

    def __init__(self, broker: Broker, control_exchange: str = "celery") -> None:
        transport, self._broker = probed(broker)
        if transport not in MAILBOXES:
            cure = "amqp:// (RabbitMQ) and redis:// can"
            raise ConfigError("broker", f"workers cannot be asked by {transport}", cure)
        self._place = MAILBOXES[transport]
        self._exchange = f"{control_exchange}.pidbox"
        self._turn = 0
        self._hung_up = False
        self.unreadable = 0

    def ask(
        self,
        questions: Questions,
        timeout: float,
        hostnames: Collection[str] = (),
        expected: Collection[str] = (),
        digest: Digest = whole,
    ) -> Answers:
        """The answers that came within `timeout` seconds; `{}` when nobody answers. With
        `hostnames` only these are asked, and it is over when all have answered. Else all are, and
        it is over once those `expected` have answered and nobody else has for QUIET seconds.
        `digest` makes what is kept of a question's answer.

        Raises BrokerLost, and AskRefused when this user may not ask; ValueError for a question that
        is none of QUESTIONS.
        """
        asked = questions if isinstance(questions, Mapping) else {one: {} for one in questions}
        if not asked.keys() <= QUESTIONS:
            raise ValueError(f"not among QUESTIONS: {', '.join(asked.keys() - QUESTIONS)}")
        return self._tell(asked, timeout, hostnames, expected, digest)

    def enable_events(self, hostnames: Collection[str], timeout: float = 1.0) -> dict[str, str]:
        """Have these workers send events of tasks; what each answers, in its own words.

        Raises BrokerLost and AskRefused.
        """
        if not hostnames:
            return {}
        answers = self._tell({"enable_events": {}}, timeout, hostnames)
        return {name: _words(told["enable_events"]) for name, told in answers.items()}

    def hang_up(self) -> None:
        """Wait for no more answers, from now on. Called from another thread."""
        self._hung_up = True

    def _tell(
        self,
        asked: Mapping[str, Mapping[str, Any]],
        timeout: float,
        hostnames: Collection[str],
        expected: Collection[str] = (),
        digest: Digest = whole,
    ) -> Answers:
        tickets = {str(uuid4()): question for question in asked}
        answers: Answers = {}
        with self._opened() as mailbox:
            for ticket, question in tickets.items():
                message = {
                    "method": question,
                    "arguments": dict(asked[question]),
                    "destination": list(hostnames) or None,
                    "pattern": None,
                    "matcher": None,
                    "ticket": ticket,
                    "reply_to": dict(mailbox.reply_to),
                }
                mailbox.send(message, timeout)
            began = came_at = time.monotonic()
            for letter in mailbox.letters(began + timeout):
                if letter and letter.ticket in tickets:
                    came_at = time.monotonic()
                    for hostname, reply in self._read(letter):
                        question = tickets[letter.ticket]
                        answers.setdefault(hostname, {})[question] = digest(question, reply)
                quiet = bool(hostnames) or time.monotonic() - came_at > QUIET
                done = quiet and _is_all(answers, hostnames or expected, asked)
                if self._hung_up or (done and (hostnames or expected)):
                    break
        return answers

    def _read(self, letter: Letter) -> Iterable[tuple[str, Any]]:
        try:
            told = _loads(letter.body, letter.content_type, letter.content_encoding, ACCEPTED)
        except (ContentDisallowed, DecodeError):
            told = None
        if not isinstance(told, Mapping):
            self.unreadable += 1
            return ()
        return ((str(hostname), reply) for hostname, reply in told.items())

    @contextmanager
    def _opened(self) -> Iterator[Mailbox]:
        """A mailbox at the URL that was good the last time, else at the next one."""
        module, _, name = self._place.partition(":")
        kind: type[Mailbox] = getattr(importlib.import_module(module), name)
        urls = kind.choices(self._broker)
        try:
            with kind.opened(self._broker, urls[self._turn % len(urls)], self._exchange) as mailbox:
                yield mailbox
        except BrokerLost:
            self._turn += 1
            raise


def _is_all(answers: Answers, hostnames: Collection[str], asked: Collection[str]) -> bool:
    """Whether each of them has answered each question."""
    return all(len(answers.get(name, ())) == len(asked) for name in hostnames)


def _words(reply: Any) -> str:
    """What a worker says of something it was told to do."""
    return str(next(iter(reply.values()), "")) if isinstance(reply, Mapping) else str(reply)
