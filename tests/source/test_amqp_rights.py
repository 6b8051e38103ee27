"""The least rights on RabbitMQ with which a source works, and the shipped definitions."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import amqp
import pytest
from amqp.exceptions import AccessRefused

from celery_statsd.source.base import Broker
from celery_statsd.source.queue import EventQueue
from tests.documents import blocks
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import channel, publish, queues, ready, unread, vhost
from tests.source.stream import listening, names, read_until, send, uuids

DEFINITIONS = Path(__file__).parents[2] / "config" / "rabbitmq" / "definitions.json"
PAGE = DEFINITIONS.with_name("README.md")
NAME, DEAD = "celeryev.statsd.default", "celeryev.statsd-dead"


@pytest.fixture
def url(rabbitmq: RabbitMQ) -> str:
    """A vhost of one's own."""
    return rabbitmq.fresh_url()


@pytest.fixture
def provisioned(rabbitmq: RabbitMQ, url: str, tmp_path: Path) -> str:
    """The URL of the user whom the shipped definitions make, in a vhost of its own."""
    text = DEFINITIONS.read_text().replace('"vhost": "/"', f'"vhost": "{vhost(url)}"')
    file = tmp_path / "definitions.json"
    file.write_text(text)
    rabbitmq.ctl("import_definitions", str(file))
    rabbitmq.ctl("change_password", "celery-statsd", "pw")
    return url.replace("guest:guest", "celery-statsd:pw")


def test_a_user_may_make_and_read_the_own_queues(rabbitmq: RabbitMQ, url: str) -> None:
    """With rights on nothing else it listens, if the exchange exists."""
    rabbitmq.ctl("add_user", "few", "pw")
    ours, reads = r"^celeryev\.statsd\.", r"^(celeryev$|celeryev\.statsd\.)"
    rabbitmq.ctl("set_permissions", "-p", vhost(url), "few", ours, ours, reads)
    send(url, ["declares the exchange"])
    for queue_type in ("quorum", "transient"):
        broker = Broker((url.replace("guest:guest", "few:pw"),), queue_type=queue_type)
        with listening(broker) as (source, _):
            send(url, ["a"])
            assert uuids(read_until(source, len)) == ["a"]


def test_the_shipped_definitions_are_all_an_agent_needs(
    rabbitmq: RabbitMQ, url: str, provisioned: str
) -> None:
    """Imported, they let an agent read events through a queue it may neither make nor bind."""
    publish(url, names(20))
    with unread(Broker((provisioned,))) as (source, log):
        assert names(20) == uuids(read_until(source, lambda seen: len(seen) >= 20))
    assert "event_queue_bound_by_others" in log.getvalue()
    policies = {NAME: "celery-statsd", DEAD: "celery-statsd-dead"}
    assert policies == dict(queues(rabbitmq, url, "name", "policy"))


REFUSED: dict[str, Callable[[Any], Any]] = {
    "another queue": lambda plain: plain.queue_declare("celery"),
    "deletion": lambda plain: plain.queue_delete(NAME),
    "binding": lambda plain: plain.queue_bind(NAME, "celeryev", "x"),
    "unbinding": lambda plain: plain.queue_unbind(NAME, "celeryev", "#"),
    "the dead letters": lambda plain: plain.basic_consume(DEAD),
    "an event": lambda plain: plain.basic_publish(amqp.Message("x"), "celeryev", "x"),
    "a task": lambda plain: plain.basic_publish(amqp.Message("x"), "", "celery"),
}


def test_the_shipped_user_may_do_nothing_else(provisioned: str) -> None:
    """It makes, changes and publishes nothing, and reads nothing but events."""
    allowed = set(REFUSED)
    for what, call in REFUSED.items():
        with channel(provisioned, confirms=True) as plain, suppress(AccessRefused):
            call(plain)
            continue
        allowed.remove(what)
    assert set() == allowed


def test_what_the_bounds_push_out_is_kept_to_be_counted(
    rabbitmq: RabbitMQ, url: str, provisioned: str
) -> None:
    """The oldest go first, into the queue of the dead letters."""
    assert provisioned != url
    bounds = definitions()["policies"][0]["definition"] | {"max-length": 10}
    pattern = definitions()["policies"][0]["pattern"]
    told = ("set_policy", "-p", vhost(url), "--priority", "99", "tighter", pattern)
    rabbitmq.ctl(*told, json.dumps(bounds))
    with channel(url) as plain:
        publish(url, names(25))
        with unread(Broker((provisioned,))) as (source, _):
            kept = uuids(read_until(source, lambda seen: len(seen) >= 10))
        assert names(10, start=15) == kept
        assert ready(plain, DEAD) == 15


def definitions() -> dict[str, Any]:
    """The shipped file."""
    read = json.loads(DEFINITIONS.read_text())
    assert isinstance(read, dict)
    return read


def test_the_shipped_queue_is_the_one_an_agent_would_make() -> None:
    """Of the default settings, so that either may come first."""
    queue = EventQueue.shared(NAME, "quorum")
    shipped = definitions()["queues"][0]
    assert (shipped["name"], shipped["durable"]) == (queue.name, queue.durable)
    assert shipped["arguments"] == queue.arguments


def test_the_shipped_user_cannot_log_in_as_he_is() -> None:
    """Nobody knows the password of an installation from this file."""
    (user,) = definitions()["users"]
    assert (user["password_hash"], user["tags"]) == ("", "")


def test_the_page_rewrites_the_definitions_for_another_app(tmp_path: Path) -> None:
    """The queue, its binding, and what the user may read: nothing else."""
    (command,) = [text for _, text in blocks(PAGE) if text.startswith("sed ")]
    shutil.copy(DEFINITIONS, tmp_path)
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    made = json.loads((tmp_path / "shop.json").read_text())

    assert r"^celeryev\.statsd\.shop(\.g[0-9]+)?$" == made["permissions"][0]["read"]
    text = json.dumps(json.loads(DEFINITIONS.read_text()))
    for old in (NAME, NAME.replace(".", r"\\.")):
        text = text.replace(old, old.replace("default", "shop"))
    assert json.loads(text) == made


def test_the_page_adds_the_rights_to_ask_the_workers(rabbitmq: RabbitMQ, provisioned: str) -> None:
    """To those that the definitions give."""
    (command,) = [
        text for _, text in blocks(PAGE) if text.startswith("rabbitmqctl set_permissions")
    ]
    words = shlex.split(command.replace("\\\n", " "))
    here = vhost(provisioned)
    rabbitmq.ctl("set_permissions", "-p", here, *words[2:])
    (found,) = [
        row for row in rabbitmq.management(f"vhosts/{here}/permissions")
        if row["user"] == "celery-statsd"
    ]  # fmt: skip
    rights = json.loads(DEFINITIONS.read_text())["permissions"][0]
    table = dict(re.findall(r"(?m)^\| (configure|write|read) \| `(.*)` \|$", PAGE.read_text()))
    assert {
        "configure": table["configure"],
        "write": table["write"],
        "read": f"{rights['read']}|{table['read']}",
    } == {name: found[name] for name in table}
