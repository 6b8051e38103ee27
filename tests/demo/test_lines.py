"""The plain lines."""

import io

from celery_statsd.demo.figures import Meter
from celery_statsd.demo.lines import Lines
from tests.demo.readings import reading

COUNTERS = {"cluster.all.sent": 7, "cluster.all.received": 6, "cluster.all.succeeded": 4}
FIGURES = Meter(["shop.pay"], "w@shop").figures(
    reading(COUNTERS, {"cluster.all.running": 2}, {"cluster.all.wait": [12]}), 3.4, None
)


def test_a_drawing_is_one_line_and_a_note_is_said_once() -> None:
    """The greeting, each note when it changes, a line for each drawing, the last with a path."""
    stream = io.StringIO()
    with Lines(stream, "hello") as lines:
        lines.draw(FIGURES, "going")
        lines.draw(FIGURES, "going")
        lines.draw(FIGURES, "ending")
        lines.end(FIGURES)
    said = stream.getvalue().splitlines()
    drawn = (
        "   3s  sent 7  received 6  in flight 0/0/2  ok 4  failed 0  retried 0  revoked 0"
        "  diff 0  wait 12ms  run -  0 events/s"
    )
    path = "in Graphite: stats.counters.celery.shop.task.shop-pay.succeeded.all.count"
    assert ["hello", "going", drawn, drawn, "ending", drawn, drawn, path, ""] == said
