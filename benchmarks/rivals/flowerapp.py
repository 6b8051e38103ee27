"""The app that Flower is given: it only knows the broker."""

import os

from celery import Celery

app = Celery(broker=os.environ["BENCH_BROKER"])
