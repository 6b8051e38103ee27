"""The way out, tried on real sockets."""

import socket

import pytest

from celery_statsd.check.outlets import Trial, ticks, trials
from celery_statsd.errors import ConfigError
from tests.servers.process import free_port
from tests.servers.statsd import StatsD


def tried(*addresses: str) -> list[Trial]:
    """Each of these sinks, tried with 4711."""
    return list(trials(addresses, "celery", "shop", "web1", 4711))


def test_each_sink_has_a_series_of_its_own() -> None:
    """So that two which lead to one place are told apart."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        address = f"statsd://127.0.0.1:{one.getsockname()[1]}"
        first, second = tried(address, address)
        came = [one.recv(2000) for _ in range(2)]

    assert b"celery.shop.doctor.web1_sink1.readback.self:4711|c" == came[0].strip()
    assert b"celery.shop.doctor.web1_sink2.readback.self:4711|c" == came[1].strip()
    assert ("", "", True, True) == (first.error, second.error, first.sent, second.sent)


def test_a_statsd_has_the_number(statsd: StatsD) -> None:
    """Over UDP and TCP, each under its own name."""
    addresses = [f"{scheme}://127.0.0.1:{statsd.port}" for scheme in ("statsd", "statsd+tcp")]

    assert ["", ""] == [trial.error for trial in tried(*addresses)]


@pytest.mark.parametrize("scheme", ["statsd", "statsd+tcp", "graphite", "graphite+pickle"])
def test_nobody_who_listens(scheme: str) -> None:
    """Is told, with the address: over UDP, too, by the refusal."""
    (trial,) = tried(f"{scheme}://127.0.0.1:{free_port()}")

    assert "refused" in trial.error
    assert scheme == trial.scheme


def test_nothing_is_sent_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    """What the doctor prints may be read by a program."""
    (trial,) = tried("console://")

    assert ("", False) == (trial.error, trial.sent)
    assert "" == capsys.readouterr().out


def test_a_wrong_address_is_the_users_to_mend() -> None:
    """As in the agent."""
    with pytest.raises(ConfigError):
        tried("carrier-pigeon://")


def test_the_ticks_of_all_agents() -> None:
    """Under the names they have."""
    assert "celery.shop.agent.*.ticks.self" == ticks("celery", "shop")
    assert "a.b.shop.agent.*.ticks.self" == ticks("a.b", "shop")
