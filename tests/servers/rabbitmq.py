"""A RabbitMQ node with its own epmd, cookie, ports and folder, the management plugin on."""

import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.servers.process import Child, answers, free_port, program

BIN = Path("/usr/lib/rabbitmq/bin")
"""The node's own scripts: those on the PATH switch to the user rabbitmq and /var/log."""

PLUGINS = "[rabbitmq_management,rabbitmq_consistent_hash_exchange]."


class RabbitMQ:
    """One node. The vhost / is anybody's; `fresh_url` makes a new one each time."""

    def __init__(self, folder: Path) -> None:
        self.port, self.management_port = free_port(), free_port()
        self.back_at = 0.0
        """When, on the monotonic clock, its last start was first seen to listen to clients."""
        self._free_vhost = itertools.count(1)
        self._epmd_port = free_port()
        self._env = self._lay_out(folder)
        self._epmd = Child(
            "epmd",
            [program("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            folder,
        )
        self._node = Child("rabbitmq", [program(BIN / "rabbitmq-server")], folder, self._env)

    @property
    def pid(self) -> int:
        """The node's process, which leads a group of its own."""
        return self._node.pid

    @property
    def url(self) -> str:
        """The vhost /."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def fresh_url(self) -> str:
        """A new vhost: queues and exchanges of its own."""
        name = f"test{next(self._free_vhost)}"
        self.management(f"vhosts/{name}", method="PUT")
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"

    def start(self) -> Self:
        """Start, or start again after `kill`, with what it had, on the same ports."""
        self._epmd.start(lambda: answers(self._epmd_port))
        self.back_at = 0.0
        self._node.start(lambda: self._listens() and answers(self.management_port), 90)
        return self

    def stop(self) -> None:
        """End it properly: connections are closed, queues are written down."""
        self._node.stop(60)
        self._epmd.kill()

    def kill(self) -> None:
        """End it as a power cut would, all its processes at once."""
        self._node.kill()
        self._epmd.kill()

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """It stands still: its sockets take what their buffers hold, and nobody answers."""
        node = int(Path(self._env["RABBITMQ_PID_FILE"]).read_text())
        os.kill(node, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(node, signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """What rabbitmqctl prints. Raises CalledProcessError when it refuses."""
        command = [program(BIN / "rabbitmqctl"), "--quiet", *arguments]
        env = {**os.environ, **self._env}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    def management(self, path: str, method: str = "GET") -> Any:
        """What the management interface answers at /api/`path`; None for an empty answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/{quote(path, safe='/?=&%')}",
            method=method,
            headers={"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _listens(self) -> bool:
        """Whether clients can connect; `back_at` is when that was first so."""
        if not self.back_at and answers(self.port):
            self.back_at = time.monotonic()
        return bool(self.back_at)

    def _lay_out(self, folder: Path) -> dict[str, str]:
        """Write the node's files; the environment that makes it use them and nothing of /etc."""
        home = folder / "home"
        home.mkdir()
        cookie = home / ".erlang.cookie"
        cookie.write_text("tests")
        cookie.chmod(0o400)
        (folder / "enabled_plugins").write_text(PLUGINS)
        (folder / "env.conf").touch()
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self.management_port}\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        return {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }
