"""What stands in for a Grafana server, which no package registry has: the part of its HTTP API that
is used, written after https://grafana.com/docs/grafana/latest/developers/http_api/.

It keeps what it is given, refuses what Grafana refuses, and remembers every write.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "glsa_of_tests"

RULE_NEEDS = {
    "uid", "title", "condition", "data", "noDataState", "execErrState", "for", "folderUID",
    "ruleGroup", "orgID",
}  # fmt: skip

Answer = tuple[int, Any]


class Grafana:
    """The state of one server: `store` by path, `writes` as (method, path)."""

    def __init__(self) -> None:
        self.store: dict[str, Any] = {}
        self.writes: list[tuple[str, str]] = []
        self.url = ""

    def answer(self, method: str, path: str, token: str, body: Any) -> Answer:
        """Status and JSON of one request."""
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        if method == "GET":
            found = self.store.get(path)
            return (200, found) if found is not None else (404, {"message": "not found"})
        self.writes.append((method, path))
        if path.startswith("v1/provisioning/folder/"):
            return self._rules(path, body)
        return {"folders": self._folder, "datasources": self._source, "dashboards/db": self._board}[
            "datasources" if path.startswith("datasources") else path
        ](body)

    def _folder(self, body: Any) -> Answer:
        path = f"folders/{body['uid']}"
        if path in self.store:
            return 412, {"message": "The folder has been changed by someone else"}
        self.store[path] = {"id": 1, **body}
        return 200, self.store[path]

    def _source(self, body: Any) -> Answer:
        others = [one for path, one in self.store.items() if path.startswith("datasources/")]
        if any(one["name"] == body["name"] and one["uid"] != body["uid"] for one in others):
            return 409, {"message": "data source with the same name already exists"}
        self.store[f"datasources/uid/{body['uid']}"] = {"id": 1, **body}
        return 200, {"message": "Datasource added"}

    def _board(self, body: Any) -> Answer:
        if f"folders/{body['folderUid']}" not in self.store:
            return 400, {"message": "folder not found"}
        uid = body["dashboard"]["uid"]
        before = self.store.get(f"dashboards/uid/{uid}")
        if before and not body.get("overwrite"):
            return 412, {"message": "A dashboard with the same uid already exists"}
        version = before["dashboard"]["version"] + 1 if before else 1
        self.store[f"dashboards/uid/{uid}"] = {
            "dashboard": {**body["dashboard"], "id": 7, "version": version},
            "meta": {"folderUid": body["folderUid"], "provisioned": False},
        }
        return 200, {"uid": uid, "version": version, "status": "success"}

    def _rules(self, path: str, body: Any) -> Answer:
        if not isinstance(body["interval"], int) or body["interval"] % 10:
            return 400, {"message": "interval (in seconds) should be divisible by 10"}
        lacking = [RULE_NEEDS - set(rule) for rule in body["rules"] if RULE_NEEDS - set(rule)]
        if lacking or unquote(path.rpartition("/")[2]) != body["title"]:
            return 400, {"message": f"invalid alert rule: {lacking}"}
        rules = [
            {
                **rule, "id": n, "updated": "now", "isPaused": False,
                "data": [{"queryType": "", **query} for query in rule["data"]],
            }
            for n, rule in enumerate(body["rules"])
        ]  # fmt: skip
        self.store[path] = {**body, "rules": rules}
        return 200, self.store[path]


class _Handler(BaseHTTPRequestHandler):
    def __getattr__(self, name: str) -> Any:
        if name in ("do_GET", "do_POST", "do_PUT"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        token = self.headers.get("Authorization", "")
        grafana: Grafana = self.server.grafana  # type: ignore[attr-defined]
        path = self.path.removeprefix("/api/")
        status, answer = grafana.answer(self.command, path, token, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def grafana() -> Iterator[Grafana]:
    """One that listens on the loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made = server.grafana = Grafana()  # type: ignore[attr-defined]
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
