"""Runs a module as `python -m` does, with one difference: Celery's receiver of events takes the
queue of the benchmark, which keeps its messages.

By default it would be exclusive and drop what is older than 5 s: no backlog could be drained.

    python eventqueue.py MODULE [ARGUMENT ...]
"""

import os
import runpy
import sys
from typing import Any

from celery.events.receiver import EventReceiver

HOUR = 3600.0


def lasting() -> dict[str, Any]:
    """The arguments of EventReceiver that make the queue: its name, its limits."""
    prefix, _, node = os.environ["BENCH_QUEUE"].partition(".")
    return {
        "queue_prefix": prefix,
        "node_id": node,
        "queue_ttl": HOUR,
        "queue_expires": HOUR,
        "queue_exclusive": False,
        "queue_durable": False,
    }


def main() -> None:
    """The command line."""
    make = EventReceiver.__init__

    def make_lasting(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **{**kwargs, **lasting()})

    EventReceiver.__init__ = make_lasting
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
