"""Grafana's HTTP API: what is sent, and what is said of each refusal."""

import pytest

from celery_statsd.dashboards.server import Server
from celery_statsd.errors import ConfigError
from tests.dashboards.stub import TOKEN, grafana
from tests.servers.process import free_port

FOLDER = {"uid": "x", "title": "X"}


def test_what_was_sent_is_there() -> None:
    """And what was not is None."""
    with grafana() as there:
        server = Server(there.url + "/", f"{TOKEN}\n")
        assert server.get("folders/x") is None
        assert "X" == server.send("POST", "folders", FOLDER)["title"]
        assert "x" == server.get("folders/x")["uid"]


def test_refusals_name_what_to_mend() -> None:
    """A wrong token, what is in the way, a path that no Grafana of this age has."""
    with grafana() as there:
        with pytest.raises(ConfigError, match=r"^GRAFANA_TOKEN: .* \(401\); give its .* Admin"):
            Server(there.url, "another").get("folders/x")
        server = Server(there.url, TOKEN)
        server.send("POST", "folders", FOLDER)
        with pytest.raises(ConfigError, match=r"^grafana: .* \(412: The folder has been changed"):
            server.send("POST", "folders", FOLDER)


def test_no_token_no_address_no_grafana() -> None:
    """Each is one sentence; the token stands in none."""
    with pytest.raises(ConfigError, match=r"^GRAFANA_TOKEN: is not set; make a service account"):
        Server("http://grafana:3000", " ")
    with pytest.raises(ConfigError, match=r"^grafana: 'grafana' is no address; write http://"):
        Server("grafana", TOKEN)
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConfigError, match=rf"^grafana: {url} does not answer") as caught:
        Server(url, TOKEN).get("health")
    assert TOKEN not in str(caught.value)
