"""Put first on an agent's path, this bends its clock and its patience, from outside.

| variable | what it does |
| --- | --- |
| FAULTS_CLOCK | a file: the seconds in it are added to the wall clock, whenever it is asked |
| FAULTS_HEARTBEAT | the AMQP heartbeat, in seconds |
| FAULTS_LONGEST_WAIT | the ceiling of the back-off, in seconds |
"""

import os
import time
from pathlib import Path

from celery_statsd.source import amqp, base

_true_time = time.time


def _shifted() -> float:
    try:
        return _true_time() + float(Path(os.environ["FAULTS_CLOCK"]).read_text())
    except (OSError, ValueError):
        return _true_time()


if "FAULTS_CLOCK" in os.environ:
    time.time = _shifted
if "FAULTS_HEARTBEAT" in os.environ:
    amqp.HEARTBEAT = int(os.environ["FAULTS_HEARTBEAT"])
if "FAULTS_LONGEST_WAIT" in os.environ:
    base.LONGEST_WAIT = float(os.environ["FAULTS_LONGEST_WAIT"])
