"""Celery's own receiver of events, with a handler that only counts."""

import os
from typing import Any

from celery import Celery
from celery.events.receiver import EventReceiver
from eventqueue import lasting
from tally import Tally


def main() -> None:
    """Receive until the end."""
    tally = Tally()

    def count(_event: dict[str, Any]) -> None:
        tally.events += 1

    app = Celery(broker=os.environ["BENCH_BROKER"])
    with app.connection() as connection:
        EventReceiver(connection, handlers={"*": count}, app=app, **lasting()).capture()


if __name__ == "__main__":
    main()
