"""RabbitMQ's management API: all that the broker knows of its queues, in one answer.

https://www.rabbitmq.com/docs/management: the numbers are as old as the broker's statistics, 5 s
unless it is told otherwise. A user with the tag `management` sees the queues of the vhosts it may
enter; `monitoring` sees the node's memory and all connections too.
"""

import json
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

from kombu.utils.url import parse_url

from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.probes.base import Probe, QueueFacts, Sight
from celery_statsd.source.base import Broker

KEY = "management"
"""The setting that names the API."""

ANSWER_WITHIN = 10.0
"""Seconds for each answer."""

_COLUMNS = {
    "name": "name",
    "length": "messages_ready",
    "unacked": "messages_unacknowledged",
    "consumers": "consumers",
    "memory_bytes": "memory",
    "oldest_at": "head_message_timestamp",
}
_TOLD = (*_COLUMNS.values(), "durable", "vhost")
_NOT_OF_TASKS = ("celeryev.", "celery.statsd", "amq.", "bcast.")


class ManagementProbe(Probe):
    """Looks by three requests, however many queues there are; also tells of durable queues that
    nobody asked for, of its own vhost or of `all_vhosts` that its user may see."""

    def __init__(self, broker: Broker) -> None:
        """Raises ConfigError for an address that is none."""
        parts = urlsplit(broker.management)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            cure = "write http://user:password@host:15672"
            raise ConfigError(KEY, "is no address of a management API", cure)
        login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        self._login = b64encode(login.encode()).decode("ascii")
        host = parts.netloc.rpartition("@")[2]
        self._base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._vhost = parse_url(broker.urls[0])["virtual_host"] or "/"
        self._of_all = broker.all_vhosts

    def look(self, queues: Collection[str]) -> Sight:
        began = time.perf_counter()
        columns = urlencode({"columns": ",".join(_TOLD)})
        place = "queues" if self._of_all else f"queues/{quote(self._vhost, safe='')}"
        rows = self._get(f"{place}?{columns}")
        ping = time.perf_counter() - began
        there = {self._name(row): row for row in rows or ()}
        names = dict.fromkeys((*queues, *(name for name in there if _is_of_tasks(there[name]))))
        found = [_facts(name, there.get(name)) for name in names]
        # What has no statistics yet is an empty list where there will be an object.
        totals = dict(self._get("overview").get("object_totals") or {})
        nodes = map(dict, self._get("nodes?columns=mem_used") or ())
        memory = sum(node.get("mem_used", 0) for node in nodes) or None
        return Sight(tuple(found), ping, totals.get("connections"), memory)

    def close(self) -> None:
        """Nothing is kept open."""

    def _name(self, row: Mapping[str, Any]) -> str:
        """A queue's own name; before it the vhost, if that is not the agent's."""
        vhost = row.get("vhost", self._vhost)
        name = str(row["name"])
        return name if vhost == self._vhost else f"{vhost}/{name}"

    @property
    def vhost(self) -> str:
        """The broker's, as it stands in a path."""
        return quote(self._vhost, safe="")

    def get(self, path: str, optional: bool = False) -> Any:
        """What is answered at a path below /api; None when it is `optional` and either not this
        user's business, or not there. Raises BrokerLost."""
        return self._get(path, optional)

    def _get(self, path: str, optional: bool = False) -> Any:
        request = urllib.request.Request(f"{self._base}/api/{path}")
        request.add_header("Authorization", f"Basic {self._login}")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401 and (optional or path.startswith("nodes")):
                return None
            if error.code == 404 and optional:
                return None
            raise BrokerLost(f"{self._base} answers {error.code} ({error.reason})") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise BrokerLost(f"{self._base} does not answer ({reason})") from error


def _facts(name: str, row: Mapping[str, Any] | None) -> QueueFacts:
    if row is None:
        return QueueFacts(name, 0, 0, 0)
    found = {field: row.get(column) for field, column in _COLUMNS.items()}
    return QueueFacts(**found | {"name": name, "oldest_at": found["oldest_at"] or None})


def _is_of_tasks(row: Mapping[str, Any]) -> bool:
    """Whether tasks may wait in it, as far as that is told: it is durable, and nobody's own."""
    name = str(row["name"])
    return bool(row.get("durable")) and not name.startswith(_NOT_OF_TASKS) and "pidbox" not in name
