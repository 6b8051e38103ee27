"""The simplest listener there is: it keeps every event as it came, on plain kombu."""

import contextlib
import json
import threading
from types import TracebackType
from typing import Any, Self

from celery.events.event import get_exchange
from kombu import Connection, Consumer, Message, Queue


class Listener:
    """Entered, it is subscribed; left, `events` holds every event in its order of arrival."""

    def __init__(self, broker: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._connection = Connection(broker)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._error: BaseException | None = None

    def count(self, kind: str) -> int:
        """How many events of the type `kind` have come."""
        return sum(event["type"] == kind for event in tuple(self.events))

    def __enter__(self) -> Self:
        # Celery's topic exchange is a fan-out of this name on Redis.
        exchange = get_exchange(self._connection)
        queue = Queue("listener", exchange, routing_key="#", auto_delete=True, durable=False)
        Consumer(self._connection, [queue], no_ack=True, on_message=self._keep).consume()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._connection.release()
        if self._error and not error:
            raise self._error

    def _keep(self, message: Message) -> None:
        found = json.loads(message.body)
        self.events.extend(found if isinstance(found, list) else [found])

    def _listen(self) -> None:
        try:
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    self._connection.drain_events(timeout=0.2)
        except Exception as error:
            self._error = error
