"""The least rights on Redis with which an agent works, alone and in a chorus: the shipped file."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

from tests.documents import blocks
from tests.faults.receivers import Receiver, Statsd
from tests.faults.stream import RedisPublisher
from tests.servers.agent import Agent
from tests.servers.process import Child, answers, free_port, program, wait_until
from tests.source.stream import send

SHIPPED = Path(__file__).parents[2] / "config" / "redis" / "users.acl"
USER, WORDS = "celery-statsd", "pw"
CHORUS = "celery-statsd/0/celeryev/faults"

PATIENCE = 30.0
"""Seconds in which whatever is waited for must have come."""


class Server:
    """A redis-server with the shipped file, and the password an operator would set."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        file = folder / "users.acl"
        file.write_text(SHIPPED.read_text())
        options = ("--port", str(self.port), "--aclfile", str(file), "--save", "")
        command = [program("redis-server"), *options, "--bind", "127.0.0.1", "--dir", str(folder)]
        self.child = Child("redis", command, folder).start(lambda: answers(self.port))
        self.root = redis.Redis(port=self.port)
        self.root.execute_command("ACL", "SETUSER", USER, f">{WORDS}")

    def url(self, user: str = USER) -> str:
        """Where a user listens."""
        return f"redis://{user}:{WORDS}@127.0.0.1:{self.port}/0"

    def without(self, *rights: str) -> str:
        """The URL of another user who has all but these."""
        head, _, selector = SHIPPED.read_text().strip().rstrip(")").partition("(")
        known, more = ([w for w in part.split() if w not in rights] for part in (head, selector))
        words = [*known[2:], f"({' '.join(more)})"]
        self.root.execute_command("ACL", "SETUSER", "less", *words, f">{WORDS}")
        return self.url("less")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One of one's own."""
    made = Server(tmp_path)
    try:
        yield made
    finally:
        made.root.close()
        made.child.kill()


@pytest.fixture
def statsd() -> Iterator[Receiver]:
    """One that adds up."""
    receiver = Statsd()
    receiver.start()
    yield receiver
    receiver.close()


def agent(folder: Path, name: str, url: str, statsd: Receiver) -> Agent:
    """An agent of that name, listening."""
    (folder / name).mkdir()
    flags = ("--host", name, "--flush-interval", "0.5", "--no-probes")
    return Agent(folder / name, url, [statsd.address], "faults", *flags).listen()


def lost(statsd: Receiver) -> int:
    """What was told to be lost."""
    return statsd.counters["celery.faults.worker.w1_at_host.events_lost.all"]


def test_two_agents_count_each_event_once_with_the_shipped_rights(
    server: Server, statsd: Receiver, tmp_path: Path
) -> None:
    """They agree on who speaks, and the other one takes over; nothing was refused to them."""
    agents = [agent(tmp_path, name, server.url(), statsd) for name in ("one", "other")]
    worker = RedisPublisher(f"redis://127.0.0.1:{server.port}/0", 200)
    worker.start()
    try:
        wait_until(lambda: statsd.count("started"), PATIENCE, "it is counted")
        key = f"{CHORUS}/warm"
        wait_until(lambda: server.root.zcard(key) == 2, PATIENCE, "both have heard all")
        (speaker,) = [one for one in agents if "lease_taken" in one.output()]
        (heir,) = [one for one in agents if one is not speaker]
        speaker.terminate()
        assert 0 == speaker.stop()
        wait_until(lambda: "lease_taken" in heir.output(), PATIENCE, "the other takes over")
        sent = worker.stop()
        wait_until(lambda: statsd.count("started") >= sent, PATIENCE, "all is counted")
        assert 0 == heir.stop()
    finally:
        worker.leave()
        for one in agents:
            one.kill()

    assert (sent, 0) == (statsd.count("succeeded"), lost(statsd))
    assert [] == server.root.execute_command("ACL", "LOG")
    assert "lease_refused" not in speaker.output() + heir.output()


FORGED = "return redis.call('publish', '/0.celeryev/task.sent', 'x')"

REFUSED: dict[str, Callable[[Any], Any]] = {
    "an event": lambda plain: plain.publish("/0.celeryev/task.sent", "x"),
    "an event by a script": lambda plain: plain.eval(FORGED, 0),
    "a task": lambda plain: plain.lpush("celery", "x"),
    "a task by a script": lambda plain: plain.eval("return redis.call('lpush', 'celery', 'x')", 0),
    "the tasks": lambda plain: plain.lrange("celery", 0, -1),
    "their number": lambda plain: plain.llen("celery"),
    "remote control": lambda plain: plain.publish("/0.celery.pidbox", "x"),
    "a result": lambda plain: plain.get("celery-task-meta-1"),
    "another key": lambda plain: plain.set("unacked", "x"),
    "a key of another database's chorus": lambda plain: plain.get("celery-statsd/1/celeryev/x"),
    "all keys": lambda plain: plain.keys("*"),
    "other channels": lambda plain: plain.execute_command("PSUBSCRIBE", "*"),
    "keyspace events": lambda plain: plain.execute_command("PSUBSCRIBE", "__key*__:*"),
    "other databases' events": lambda plain: plain.execute_command("PSUBSCRIBE", "/1.celeryev/*"),
    "the settings": lambda plain: plain.config_get("*"),
    "the end of all": lambda plain: plain.flushall(),
    "the end of others": lambda plain: plain.client_kill("127.0.0.1:1"),
    "users": lambda plain: plain.acl_list(),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_the_shipped_user_may_do_nothing_else(server: Server, call: Callable[[Any], Any]) -> None:
    """It forges no event and no task, and reads nothing but events."""
    server.root.lpush("celery", "a task")
    with contextlib.closing(redis.Redis.from_url(server.url())) as plain, plain:
        with pytest.raises(ResponseError) as refused:
            call(plain)
        assert isinstance(refused.value, NoPermissionError) or "user executing the script" in str(
            refused.value
        )
    assert [b"a task"] == server.root.lrange("celery", 0, -1)


def test_the_shipped_user_cannot_log_in_as_he_is(server: Server) -> None:
    """Nobody knows the password of an installation from this file."""
    server.root.execute_command("ACL", "LOAD")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(server.url()).ping()


LEASE = ("+eval", "+get", "+set", "+zadd", "+publish", "+time", "~celery-statsd/0/*",
         "&celery-statsd/0/*", "+subscribe")  # fmt: skip


@pytest.mark.parametrize("right", LEASE)
def test_an_agent_that_may_not_agree_with_others_counts_alone(
    right: str, server: Server, statsd: Receiver, tmp_path: Path
) -> None:
    """It says once that two would count twice, and goes on."""
    alone = agent(tmp_path, "alone", server.without(right), statsd)
    try:
        wait_until(lambda: "lease_refused" in alone.output(), PATIENCE, "it is told")
        send(f"redis://127.0.0.1:{server.port}/0", ["1", "2", "3"])
        started = "started"
        wait_until(lambda: statsd.count(started) >= 3, PATIENCE, "it counts")
        assert 0 == alone.stop()
    finally:
        alone.kill()

    assert 3 == statsd.count(started)
    assert 1 == alone.output().count("lease_refused")
    assert "config/redis" in alone.output()
    assert 0 == alone.output().count("lease_out_of_reach")


def test_the_rights_name_what_the_scripts_use() -> None:
    """No more commands than that."""
    (line,) = SHIPPED.read_text().splitlines()
    granted = {word.strip("()") for word in line.split() if word.strip("()").startswith("+")}
    source = (Path(__file__).parents[2] / "celery_statsd" / "source" / "lease.py").read_text()
    used = {word.lower() for word in _called(source)}

    assert {f"+{word}" for word in used} | {"+eval", *PLAIN} == granted


PLAIN = {"+ping", "+select", "+psubscribe", "+subscribe"}


def _called(source: str) -> list[str]:
    return [part.split("'")[1] for part in source.split("redis.call(")[1:]]


WITH_FILE, WITHOUT, QUEUES, WORKERS = (text for _, text in blocks(SHIPPED.with_name("README.md")))
"""The commands that the page shows."""

MAY = (("LLEN", "mails"), ("LLEN", "etl"), ("MEMORY", "USAGE", "etl"), ("SMEMBERS", "unacked"))
MAY_NOT = (("LLEN", "others"), ("LPUSH", "mails", "x"), ("CONFIG", "GET", "*"))


@pytest.mark.parametrize("making", [WITH_FILE, WITHOUT], ids=["with_file", "without"])
def test_the_page_makes_a_user_who_is_there_after_a_restart(making: str, tmp_path: Path) -> None:
    """As it stands there, by a shell; it may look at the queues and ask the workers then."""
    port, aclfile = free_port(), tmp_path / "users-of-redis.acl"
    aclfile.write_text("")
    settings = f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
    settings += f"aclfile {aclfile}\n" if making == WITH_FILE else ""
    (tmp_path / "redis.conf").write_text(settings)
    saving = "redis-cli ACL SAVE" if making == WITH_FILE else "redis-cli CONFIG REWRITE"
    text = f"{making}{QUEUES}{WORKERS}{saving}\n".replace("redis-cli", f"redis-cli -p {port}")
    text = text.replace("/etc/redis/users.acl", str(aclfile))
    command = [program("redis-server"), str(tmp_path / "redis.conf")]
    child = Child("redis", command, tmp_path).start(lambda: answers(port))
    try:
        shell = ["sh", "-ec", text]
        done = subprocess.run(shell, cwd=SHIPPED.parent, capture_output=True, text=True, check=True)
        assert {"OK"} == set(done.stdout.split()), done.stdout
        child.stop()
        child.start(lambda: answers(port))
        with redis.Redis(port=port) as root:
            assert b"on" in root.execute_command("ACL", "GETUSER", USER)[b"flags"]
            ask = lambda *words: root.execute_command("ACL", "DRYRUN", USER, *words)  # noqa: E731
            for words in (*MAY, ("PUBLISH", "/0.celery.pidbox", "x"), ("MULTI",)):
                assert b"OK" == ask(*words), words
            for words in MAY_NOT:
                assert b"OK" != ask(*words), words
        url = f"redis://{USER}:a%20long%20password@127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as user:
            assert user.ping()
    finally:
        child.kill()
