"""The metric of the doctor: what `celery-statsd check` sends, to see whether it arrives."""

from celery_statsd.metric import Kind
from celery_statsd.rules.base import Rule

FAMILY = "doctor"

READBACK = "readback"

RULES = (
    Rule(
        READBACK,
        Kind.COUNTER,
        "A number `celery-statsd check` sends through each sink, to read it back from Graphite.",
        (FAMILY,),
    ),
)
