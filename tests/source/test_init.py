"""The face of the sources: which one, and what is refused."""

import io
import subprocess
import sys

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.log import Log
from celery_statsd.source import SOURCES, source_for
from celery_statsd.source.amqp import AmqpSource
from celery_statsd.source.base import Broker, Tls
from celery_statsd.source.memory import KombuSource
from celery_statsd.source.redis import RedisSource


@pytest.mark.parametrize(
    ("urls", "kind", "place"),
    [
        (("amqp://",), AmqpSource, "amqp://"),
        (("amqps://u:p@h/v",), AmqpSource, "amqps://u@h/v"),
        (("pyamqp://u:p@h//",), AmqpSource, "pyamqp://u@h//"),
        (("librabbitmq://h",), AmqpSource, "librabbitmq://h"),
        (("amqp://u:p@h//", "pyamqp://i"), AmqpSource, "amqp://u@h//"),
        (("amqp://u:p@h//;amqp://i",), AmqpSource, "amqp://u@h//"),
        (("amqp://[::1]:5672//",), AmqpSource, "amqp://[::1]:5672//"),
        (("redis://:p@h:1/2",), RedisSource, "redis://h:1/2"),
        (("rediss://u:p%40:q@h/0?ssl_cert_reqs=none",), RedisSource, "rediss://u@h/0"),
        (("redis+socket:///run/r.sock",), RedisSource, "redis+socket:///run/r.sock"),
        (("sentinel://:p@a;sentinel://:p@b/1",), RedisSource, "sentinel://a;sentinel://b/1"),
        (("memory://",), KombuSource, "memory://"),
        (("filesystem://",), KombuSource, "filesystem://"),
    ],
)
def test_each_url_has_its_source(urls: tuple[str, ...], kind: type, place: str) -> None:
    """Chosen by the scheme; its place is the first URL, without password and options."""
    broker = Broker(urls, transport_options={"master_name": "m"})
    source = source_for(broker, Log(stream=io.StringIO()))
    assert (kind, place) == (type(source), source.place)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost", "URL 1 cannot be read"),
        ("amqp://u:secret@h:port//", "URL 1 cannot be read"),
        ("amqp://u:sec/ret@h:5672//", "URL 1 cannot be read"),
        ("amqp://u:sec#ret@h:5672//", "URL 1 cannot be read"),
        ("amqp://h;redis", "URL 2 cannot be read"),
        ("redis://h/shop", "URL 1 cannot be read"),
        ("rediss://h/0?ssl_cert_reqs=maybe", "ssl_cert_reqs is none of"),
        ("nonsense://u:secret@h", "unknown transport 'nonsense'"),
        ("sqs://u:secret@", "sqs cannot carry Celery's events"),
        ("SQS://", "sqs cannot carry"),
        ("kafka://h", "kafka cannot carry"),
        ("sqla+sqlite:///x", "sqla cannot carry"),
        ("azureservicebus://h", "azureservicebus cannot carry"),
        ("etcd://h", "etcd cannot carry"),
        ("amqp://h;redis://h", "of 2 transports (amqp, redis)"),
        ("amqp://h;amqps://h", "of 2 transports (amqp, amqps)"),
        ("celery.app://h", "unknown transport 'celery.app'"),
        (";", "no URL"),
        ("mongodb://h", "the library for mongodb is missing"),
    ],
)
def test_what_cannot_be_used_is_a_config_error(url: str, told: str) -> None:
    """The sentence names the key, the problem and a cure, and no password."""
    with pytest.raises(ConfigError) as caught:
        source_for(Broker((url,)), Log(stream=io.StringIO()))
    assert caught.value.key == "broker"
    text = str(caught.value)
    assert told in text
    assert not [secret for secret in ("secret", "sec/", "ret@", "sec#") if secret in text]


@pytest.mark.parametrize(
    ("url", "tls", "found"),
    [
        ("amqp://h", Tls(), Tls()),
        ("amqps://h", Tls(), Tls(on=True)),
        ("rediss://h", Tls(verify=False), Tls(on=True, verify=False)),
        ("redis://h", Tls(on=True), Tls(on=True)),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", Tls(), Tls(on=True, verify=False)),
        ("rediss://h/0?ssl_cert_reqs=required", Tls(), Tls(on=True)),
        (
            "rediss://h?ssl_ca_certs=/a&ssl_certfile=/b&ssl_keyfile=/c",
            Tls(),
            Tls(on=True, ca_file="/a", cert_file="/b", key_file="/c"),
        ),
        ("rediss://h?ssl_ca_certs=/a", Tls(ca_file="/z"), Tls(on=True, ca_file="/z")),
    ],
)
def test_trust_is_taken_from_settings_and_urls(url: str, tls: Tls, found: Tls) -> None:
    """The scheme turns TLS on, the URL's options fill in what the settings leave open."""
    source = source_for(Broker((url,), tls), Log(stream=io.StringIO()))
    assert found == source._broker.tls


@pytest.mark.parametrize(
    ("url", "strangers"),
    [
        ("amqp://", ["redis", "celery", "asyncio"]),
        ("redis://", ["celery", "celery_statsd.source.amqp"]),
        ("memory://", ["redis", "celery", "celery_statsd.source.amqp"]),
    ],
)
def test_only_what_the_broker_needs_is_imported(url: str, strangers: list[str]) -> None:
    """An agent on one broker does not carry the client of another, nor Celery."""
    code = (
        "import sys\n"
        "from celery_statsd.log import Log\n"
        "from celery_statsd.source import source_for\n"
        "from celery_statsd.source.base import Broker\n"
        f"source_for(Broker(({url!r},)), Log())\n"
        f"print([name for name in {strangers!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_transport_has_a_source_that_exists() -> None:
    """Each row of the table leads to a class."""
    for transport in ("amqp", "redis", "memory"):
        module, _, name = SOURCES[transport].partition(":")
        assert isinstance(getattr(sys.modules[module], name), type)


@pytest.mark.parametrize("url", ["amqp://me:s3cr/et@h//", "redis://:s3cr/et@h/0"])
def test_a_password_that_was_not_quoted_is_not_told(url: str) -> None:
    """It makes the URL unreadable, and its parts stand in the library's words."""
    with pytest.raises(ConfigError, match="in the password %2F for /") as error:
        source_for(Broker((url,)), Log())

    assert "s3cr" not in str(error.value)
