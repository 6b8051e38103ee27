"""What all sources share: outliving the broker, and never telling a password."""

import io
import time
from collections.abc import Sequence

import pytest

from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.source import base
from celery_statsd.source.base import Broker, Facts, Message, Source, Tls, place_of, scrubbed
from tests.servers.process import wait_until


class Moody(Source):
    """A source whose broker is there or not, as `up` says; it notes what is asked of it."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.up = True
        self.calls: list[str] = []

    @property
    def place(self) -> str:
        return "moody://"

    def ack(self) -> None:
        self._ask("ack")

    def _open(self) -> None:
        self._ask("open")

    def _read(self, timeout: float) -> Sequence[Message]:  # noqa: ARG002
        self._ask("read")
        return [Message(b"x", Facts())]

    def _drop(self) -> None:
        self.calls.append("drop")

    def _leave(self) -> None:
        self._ask("leave")

    def _ask(self, call: str) -> None:
        self.calls.append(call)
        if not self.up:
            raise BrokerLost("away")


@pytest.fixture
def log() -> io.StringIO:
    """What is logged."""
    return io.StringIO()


@pytest.fixture
def source(log: io.StringIO) -> Moody:
    """A source that never read yet."""
    return Moody(Log("debug", stream=log))


def test_a_lost_broker_is_told_once_each_way_and_counted(source: Moody, log: io.StringIO) -> None:
    """One line when it is lost, none for attempts in vain, one when it is back; one reconnect."""
    assert len(source.read(0)) == 1
    source.up = False
    wait_until(lambda: source.read(0.05) == () and source.calls.count("open") > 3, 5, "attempts")
    source.up = True
    wait_until(lambda: source.read(0.05), 5, "back")
    words = [line.split()[1] for line in log.getvalue().splitlines()]
    assert words == ["broker_connected", "broker_lost", "broker_back"]
    assert source.reconnects == 1
    assert source.calls.count("drop") == source.calls.count("open") - 1


def test_a_broker_that_was_never_there_is_no_reconnect(source: Moody) -> None:
    """The first connection is none, however long it took."""
    source.up = False
    source.read(0)
    source.up = True
    wait_until(lambda: source.read(0.05), 5, "there")
    assert source.reconnects == 0


def test_a_broker_that_stays_away_is_told_again(
    source: Moody, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reminder from time to time, not with each attempt."""
    monkeypatch.setattr(base, "REMIND_EVERY", 0.3)
    source.up = False
    wait_until(lambda: source.read(0.05) == () and source.calls.count("open") > 4, 10, "attempts")
    assert 1 < log.getvalue().count("broker_lost") < source.calls.count("open")


def test_waiting_for_a_broker_takes_the_time_that_was_given(
    source: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read during the back-off sleeps its timeout and no longer."""
    monkeypatch.setattr(base.random, "uniform", lambda _, ceiling: ceiling)
    source.up = False
    source.read(0)
    start = time.monotonic()
    assert source.read(0.1) == ()
    assert 0.1 <= time.monotonic() - start < 0.2
    assert source.calls == ["open", "drop"]


def test_the_back_off_grows_to_its_ceiling(source: Moody, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.2 s, doubled each time, at most 4 s: a broker that is back is found within 5 s."""
    ceilings: list[float] = []
    monkeypatch.setattr(base.random, "uniform", lambda _, ceiling: ceilings.append(ceiling) or 0.0)
    source.up = False
    for _ in range(7):
        source.read(0)
    assert ceilings == [0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0]


@pytest.mark.parametrize(
    ("up", "last"), [(True, ["leave"]), (False, ["leave", "drop"])], ids=["there", "gone"]
)
def test_leaving_is_polite_only_while_the_broker_is_there(
    source: Moody, up: bool, last: list[str]
) -> None:
    """A broker that is gone is no error at the end; closing twice is closing once."""
    source.read(0)
    source.up = up
    source.close()
    source.close()
    assert source.calls[2:] == last
    assert not source.connected


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("amqp://guest:pw@h:5672//", "amqp://guest@h:5672//"),
        ("amqp://u:p@ss:w/rd@h/v", "amqp://u@h/v"),
        ("redis://:pw@h/0", "redis://h/0"),
        ("rediss://h/0?ssl_password=pw&x=u:pw@h", "rediss://h"),
        ("redis://:p?w@h", "redis://h"),
        ("rediss://u:pw@h/0?ssl_password=pw", "rediss://u@h/0"),
        ("redis://h", "redis://h"),
        ("sentinel://:pw@a;sentinel://u:pw@b/1", "sentinel://a;sentinel://u@b/1"),
        ("rubbish", "rubbish://"),
    ],
)
def test_a_place_has_no_password(url: str, place: str) -> None:
    """However the password is written, and wherever options hide one."""
    assert place_of(url) == place


@pytest.mark.parametrize(
    ("text", "url", "clean"),
    [
        ("login of u with p/q failed", "amqp://u:p%2Fq@h", "login of u with *** failed"),
        ("AUTH p%2Fq", "redis://:p%2Fq@h", "AUTH ***"),
        ("one two", "sentinel://:one@a;sentinel://:two@b", "*** ***"),
        ("nothing to hide", "redis://h:1/0", "nothing to hide"),
    ],
)
def test_what_a_library_says_is_scrubbed(text: str, url: str, clean: str) -> None:
    """Of each password in the URL, quoted or not."""
    assert scrubbed(text, url) == clean


@pytest.mark.parametrize("scheme", ["amqps", "rediss"])
def test_the_scheme_turns_tls_on(scheme: str) -> None:
    """With all else as it was set."""
    broker = Broker((f"{scheme}://h",), Tls(ca_file="/a"))
    assert broker.tls == Tls(on=True, ca_file="/a")
