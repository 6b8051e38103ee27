"""The contract every sink keeps, and the addresses they are made from."""

import pytest

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.sinks import SINKS, sink_from
from celery_statsd.sinks.base import Address, positive_int, positive_seconds


@pytest.fixture(params=SINKS)
def address(request, tmp_path, datagrams, listen):
    """The address of each kind of sink, with its receiver behind it."""
    path = str(tmp_path / "statsd.sock")
    places = {
        "statsd": lambda: f"statsd://127.0.0.1:{datagrams().port}",
        "statsd+unix": lambda: (listen(path), f"statsd+unix://{path}")[1],
        "statsd+unixgram": lambda: (datagrams(path), f"statsd+unixgram://{path}")[1],
        "console": lambda: "console://",
        "memory": lambda: "memory://",
    }
    other = lambda: f"{request.param}://127.0.0.1:{listen().port}"  # noqa: E731
    return places.get(request.param, other)()


def test_every_sink_keeps_the_contract(address, make):
    """It is made by its scheme, checks, sends, counts what it did, and closes as often as asked."""
    sink = sink_from(address)
    assert type(sink) is SINKS[sink.address.scheme]
    sink.check()
    assert (0, 0, 0, 0) == tally(sink)
    sink.send(make.batch({"t.a.s": 1}, {"q.a.length": 2}, {"t.a.runtime": [3]}))
    sink.send(make.batch({"t.a.s": 1}))
    sink.close()
    sink.close()
    packets, _, errors, dropped = tally(sink)
    assert (2, 0, 0) == (packets, errors, dropped)


def test_what_a_sink_keeps_is_sent_with_the_next(address, make):
    """Or at once, by those that keep nothing; nothing is dropped either way."""
    kept, alone = sink_from(address), sink_from(address)
    for value in (1, 2):
        kept.keep(make.batch({"t.a.s": value}, time=1_700_000_000.0 + value))
    holds = (0, 0, 0, 0) == tally(kept)
    assert holds == (kept.address.scheme not in ("console", "memory"))
    kept.send(make.batch({"t.a.s": 4}))
    alone.send(make.batch({"t.a.s": 7}))
    kept.close()
    alone.close()
    assert (0, 0) == tally(kept)[2:]
    if "statsd" in kept.address.scheme:
        assert tally(alone) == tally(kept)


def test_every_sink_takes_an_empty_batch(address, make):
    """Nothing to say is no error."""
    sink = sink_from(address)
    sink.send(make.batch())
    sink.close()
    assert (0, 0) == tally(sink)[2:]


def test_every_sink_refuses_an_option_it_does_not_know(address):
    """The sentence names the option."""
    with pytest.raises(ConfigError, match="'colour'"):
        sink_from(f"{address}?colour=blue")


@pytest.mark.parametrize("scheme", sorted({*SINKS} - {"console", "memory"}))
def test_a_sink_opens_nothing_before_it_is_used(scheme, tmp_path):
    """Where nobody listens it can be made and closed; only `send` and `check` find out."""
    place = f"{tmp_path}/none.sock" if "unix" in scheme else "no-such-host.invalid"
    sink = sink_from(f"{scheme}://{place}")
    with pytest.raises(SinkDown, match=r"none\.sock|no-such-host"):
        sink.check()
    sink.close()
    assert (0, 0, 0, 0) == tally(sink)


def tally(sink):
    return sink.tally.packets, sink.tally.bytes, sink.tally.errors, sink.tally.dropped


@pytest.mark.parametrize(
    "text", ["", "h:1", "statsd", "statsd:h", "://h", "statsd://[::1", "statsd://h:x"]
)
def test_what_is_no_address_is_refused(text):
    """As a setting to mend, never as a crash."""
    with pytest.raises(ConfigError, match="sinks: "):
        sink_from(text)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_an_impossible_port_is_refused(port):
    """From 1 to 65535."""
    with pytest.raises(ConfigError, match="port"):
        Address.parse(f"statsd://h:{port}")


def test_an_address_is_taken_apart():
    """Scheme, host, port, path and options."""
    address = Address.parse("a+b://Host:12/x?k=v&l=")
    assert ("a+b", "host", 12, "/x", {"k": "v", "l": ""}) == (
        address.scheme,
        address.host,
        address.port,
        address.path,
        address.options,
    )


@pytest.mark.parametrize(
    "text", ["a://", "a://:5", "a://h/mtu=8932", "a://b..c", f"a://{'x' * 64}"]
)
def test_an_endpoint_is_a_host_and_nothing_behind_the_port(text):
    """No host, one no resolver could take, or a path are the user's to mend."""
    with pytest.raises(ConfigError):
        Address.parse(text).endpoint(1)


def test_an_endpoint_has_a_port():
    """The address's own, or the protocol's."""
    assert ("h", 5) == Address.parse("a://h:5/").endpoint(1)
    assert ("::1", 1) == Address.parse("a://[::1]").endpoint(1)


@pytest.mark.parametrize(("kind", "good"), [(positive_int, "7"), (positive_seconds, "0.5")])
def test_positive_numbers_are_above_zero_and_finite(kind, good):
    """What cannot be a size or a timeout is no value."""
    assert float(good) == kind(good)
    for bad in ("0", "-1", "nan", "inf", "x", ""):
        with pytest.raises(ValueError, match=r".*"):
            kind(bad)
