"""The load of threads."""

import threading
import time

import pytest

from celery_statsd.demo.load import Load


@pytest.fixture
def linux() -> None:
    """Only Linux tells."""
    if Load([threading.main_thread()]).percent() is None:
        pytest.skip("this kernel does not tell a thread's time")


@pytest.mark.usefixtures("linux")
def test_it_is_the_load_of_those_threads_and_no_others() -> None:
    """What this thread burns is not the sleeper's."""
    wake = threading.Event()
    sleeper = threading.Thread(target=wake.wait)
    sleeper.start()
    mine, its = Load([threading.main_thread()]), Load([sleeper])
    assert sum(range(2_000_000))
    burned, slept = mine.percent(), its.percent()
    wake.set()
    sleeper.join()
    assert burned is not None
    assert slept is not None
    assert slept < burned / 10
    assert 0 < burned <= 110


@pytest.mark.usefixtures("linux")
def test_of_a_thread_that_has_ended_nothing_is_known() -> None:
    """None, not a made-up 0."""
    thread = threading.Thread(target=int)
    thread.start()
    load = Load([thread])
    thread.join()
    deadline = time.monotonic() + 10  # the kernel's part of it ends a little later
    while load.percent() is not None and time.monotonic() < deadline:
        pass
    assert load.percent() is None
