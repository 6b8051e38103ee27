"""The user's Celery app, imported as `celery -A` does."""

import asyncio  # noqa: F401 - loaded before the modules are patched: it cannot be loaded twice
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.source.app import settings_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def settings(here: Path, broker: Any = None, **conf: Any) -> dict[str, Any]:
    """What is read from an app with `conf`."""
    text = f"from celery import Celery\napp = Celery('shop', broker={broker!r})\n"
    (here / "shop.py").write_text(text + f"app.conf.update(**{conf!r})\n")
    found = settings_of("shop")
    assert ["celery"] == found.pop("queues")
    return found


@pytest.mark.parametrize(
    ("broker", "conf", "urls"),
    [
        ("redis://:p%40@h:1/2", {}, ["redis://:p%40@h:1/2"]),
        ("amqp://u:p@a//;amqp://u:q@b//", {}, ["amqp://u:p@a//", "amqp://u:q@b//"]),
        (["amqp://a", "amqp://b"], {}, ["amqp://a", "amqp://b"]),
        ("amqp://w", {"broker_read_url": "amqp://r"}, ["amqp://r"]),
        (None, {"broker_url": "redis://h"}, ["redis://h"]),
        (None, {}, ["amqp://guest:guest@localhost:5672//"]),
        (
            None,
            {"broker_host": "h", "broker_user": "u", "broker_password": "p/q", "broker_vhost": "v"},
            ["amqp://u:p%2Fq@h:5672/v"],
        ),
        (
            None,
            {"broker_transport": "redis", "broker_host": "h", "broker_port": 7},
            ["redis://h:7//"],
        ),
    ],
)
def test_the_broker_is_where_the_app_reads(
    here: Path, broker: Any, conf: dict[str, Any], urls: list[str]
) -> None:
    """As one URL, as a list in any form, as single settings, or Celery's default."""
    assert {"broker": urls} == settings(here, broker, **conf)


def test_the_environment_counts_as_it_does_for_celery(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CELERY_BROKER_URL is stronger than the app's own URL."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://of-the-environment")
    assert settings(here, "redis://h")["broker"] == ["redis://of-the-environment"]


def test_what_differs_from_the_default_is_told(here: Path) -> None:
    """Transport options, the event exchange and the queue's prefix, when the app sets them."""
    conf = {
        "broker_transport_options": {"global_keyprefix": "shop:"},
        "event_exchange": "shop.events",
        "event_queue_prefix": "shopev",
    }
    expected = {
        "broker": ["redis://h"],
        "transport_options": {"global_keyprefix": "shop:"},
        "event_exchange": "shop.events",
        "event_queue_prefix": "shopev",
    }
    assert expected == settings(here, "redis://h", **conf)


FILES = {"tls_ca_file": "/a", "tls_cert_file": "/b", "tls_key_file": "/c"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (False, {}),
        (True, {"tls": True}),
        ({"ca_certs": "/a", "certfile": "/b", "keyfile": "/c"}, {"tls": True, **FILES}),
        (
            {"ssl_ca_certs": "/a", "ssl_certfile": "/b", "ssl_keyfile": "/c"},
            {"tls": True, **FILES},
        ),
        ({"cert_reqs": int(ssl.CERT_NONE)}, {"tls": True, "tls_verify": False}),
        ({"cert_reqs": int(ssl.CERT_REQUIRED)}, {"tls": True}),
        ({"ssl_cert_reqs": "none"}, {"tls": True, "tls_verify": False}),
        ({"ssl_cert_reqs": "required"}, {"tls": True}),
        ({"server_hostname": "name"}, {"tls": True, "tls_server_name": "name"}),
        ({"context": {"cafile": "/a"}}, {"tls": True, "tls_ca_file": "/a"}),
    ],
)
def test_tls_is_read_in_the_words_of_both_clients(here: Path, given: Any, found: Any) -> None:
    """`broker_use_ssl` as True, as py-amqp's options, or as redis-py's."""
    expected = {"broker": ["amqp://h"]} | found
    assert expected == settings(here, "amqp://h", broker_use_ssl=given)


@pytest.mark.parametrize("path", ["deep.shop", "deep.shop:app", "deep.shop.app"])
def test_an_app_is_found_by_any_of_its_paths(here: Path, path: str) -> None:
    """A module, module:attribute, module.attribute, in the working directory."""
    (here / "deep").mkdir()
    (here / "deep" / "shop.py").write_text(
        "from celery import Celery\napp = Celery(broker='redis://h')"
    )
    assert settings_of(path) == {"broker": ["redis://h"], "queues": ["celery"]}


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        ("", "nowhere", "No module named 'nowhere'"),
        ("", "shop", "no attribute 'celery'"),
        ("import nowhere", "shop", "No module named 'nowhere'"),
        ("1/0", "shop", "ZeroDivisionError"),
        ("app = 7", "shop", "is no Celery app"),
        ("app = 7", "shop:app", "is no Celery app"),
        ("x = ", "shop", "SyntaxError"),
        ("raise ValueError('redis://u:secret@h is wrong')", "shop", "ValueError"),
        (
            "from celery import Celery\napp = Celery()\napp.config_from_object('nowhere')",
            "shop",
            "No module named 'nowhere'",
        ),
    ],
)
def test_an_app_that_cannot_be_had_is_a_config_error(
    here: Path, text: str, path: str, told: str
) -> None:
    """Whatever goes wrong in the user's module: the path, the reason, no password."""
    (here / "shop.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings_of(path)
    assert caught.value.key == "celery_app"
    assert repr(path) in str(caught.value)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_queues_are_those_the_app_declares(here: Path) -> None:
    """By name, in their order; without any, Celery's default one."""
    (here / "store.py").write_text(
        "from celery import Celery\nfrom kombu import Queue\napp = Celery(broker='redis://h')\n"
        "app.conf.task_queues = [Queue('mails'), Queue('etl', routing_key='etl.#')]\n"
    )
    assert ["mails", "etl"] == settings_of("store")["queues"]
