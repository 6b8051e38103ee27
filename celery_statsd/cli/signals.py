"""How a command that listens is told to end, or to read its settings again."""

import signal
import threading
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks a command that listens to end."""


def on_signal(stop: Callable[[], None]) -> None:
    """Call `stop` at the first signal. It takes seconds at most, so later ones mean nothing."""

    def answer(*_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, _nothing)  # not SIG_IGN: Python complains of one under way
        stop()

    for number in SIGNALS:
        signal.signal(number, answer)


def on_hangup(reload: Callable[[], None]) -> None:
    """Call `reload` at each SIGHUP, in a thread of its own: nothing waits for it."""
    one = threading.Lock()

    def answer() -> None:
        with one:
            reload()

    def begin(*_: object) -> None:
        threading.Thread(target=answer, name="reload", daemon=True).start()

    signal.signal(signal.SIGHUP, begin)


def hold_signals() -> None:
    """From now on they wait for `wait_for_signal`, in this thread and in those it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def wait_for_signal() -> None:
    """Return at the first signal that asks to end, or at one that came since `hold_signals`."""
    signal.sigwait(SIGNALS)


def _nothing(*_: object) -> None:
    """How a signal is answered that comes once more."""
