"""What the Dockerfile and the Kubernetes manifest say, as far as it can be shown without either:
the sources install, the names are settings, the probes ask for pages there are."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celery_statsd.config import load
from celery_statsd.health import OK, UNWELL
from celery_statsd.window import Window
from tests.servers.process import REPOSITORY
from tests.test_health import Patient

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
MANIFEST = REPOSITORY / "config" / "kubernetes" / "celery-statsd.yaml"


def instructions(word: str) -> list[str]:
    """The arguments of each instruction of a kind."""
    return re.findall(rf"(?m)^\s*{word} (.*)$", DOCKERFILE)


def variables() -> dict[str, str]:
    """What the image sets."""
    pairs = (pair.partition("=") for line in instructions("ENV") for pair in line.split())
    return {name: text for name, _, text in pairs}


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """What the manifest holds, by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture
def container(objects: dict[str, Any]) -> dict[str, Any]:
    """The only container of the deployment."""
    (found,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.fixture
def patient() -> Iterator[tuple[Patient, str]]:
    """An agent's health, and where it is shown."""
    patient = Patient()
    window = Window("127.0.0.1:0", patient.health.pages)
    window.open()
    yield patient, f"127.0.0.1:{window.port}"
    window.close()


def test_what_is_copied_is_all_that_is_needed() -> None:
    """What the project file names is what is copied, and the ignore file lets through just that."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    setup = project["tool"]["setuptools"]
    folders = {setup["package-dir"].get(name, name).split(".")[0] for name in setup["packages"]}
    texts = {project["project"]["readme"], *project["project"]["license-files"]}
    copied = {
        path
        for line in instructions("COPY")
        for path in line.split()[:-1]
        if not path.startswith(("--from", "/"))
    }
    assert {"pyproject.toml", *folders, *texts} == copied
    ignored, *lines = (REPOSITORY / ".dockerignore").read_text().split()
    assert ("*", copied) == (ignored, {line[1:] for line in lines if line[0] == "!"})


def test_the_variables_of_the_image_are_settings() -> None:
    """JSON logs, a state that a volume can be mounted for, and the pages of the health check."""
    got = load({}, variables(), None, lambda _: {})
    assert ("json", "127.0.0.1:9808") == (got.log_format, got.http)
    assert instructions("VOLUME") == [got.state_dir]


def test_the_image_runs_as_nobody_in_particular() -> None:
    """The last user is not root."""
    assert ["65532:65532"] == instructions("USER")


def test_the_health_check_tells_well_from_unwell(patient: tuple[Patient, str]) -> None:
    """The very command, against the very pages."""
    health, address = patient
    (line,) = instructions("HEALTHCHECK")
    command = json.loads(line.partition(" CMD ")[2])
    assert "python" == command[0]

    def code() -> int:
        env = {"CELERY_STATSD_HTTP": address}
        done = subprocess.run(
            [sys.executable, *command[1:]], env=env, capture_output=True, check=False
        )
        return done.returncode

    assert 0 == code()
    health.source.connected = False
    assert 1 == code()


def test_the_settings_of_the_manifest_load(
    objects: dict[str, Any], container: dict[str, Any], tmp_path: Path
) -> None:
    """The file, the variables and the secrets together, each where the agent looks for it."""
    data, handed = objects["ConfigMap"]["data"], tmp_path / "handed"
    (tmp_path / "settings.yml").write_text(data["celery-statsd.yml"])
    handed.mkdir()
    for name, text in objects["Secret"]["stringData"].items():
        (handed / name).write_text(text)
    environ = {row["name"]: row["value"] for row in container["env"]}
    mounts = {row["name"]: row["mountPath"] for row in container["volumeMounts"]}
    assert mounts["credentials"] == environ["CREDENTIALS_DIRECTORY"]
    assert (mounts["settings"], list(data)) == ("/etc/celery-statsd", ["celery-statsd.yml"])
    environ["CREDENTIALS_DIRECTORY"] = str(handed)
    got = load({}, environ, None, lambda _: {}, default_file=str(tmp_path / "settings.yml"))
    assert mounts["state"] == got.state_dir
    assert "credential broker" == got.origins["broker"]
    assert "celery-statsd" == got.host


def test_the_probes_ask_for_pages_there_are(
    container: dict[str, Any], patient: tuple[Patient, str]
) -> None:
    """At the port that is opened; and a broker that is away does not have the pod restarted."""
    health, _ = patient
    pages = health.health.pages
    (port,) = container["ports"]
    environ = {row["name"]: row["value"] for row in container["env"]}
    assert environ["CELERY_STATSD_HTTP"].endswith(f":{port['containerPort']}")
    live, ready = (container[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness"))
    assert {port["name"]} == {live["port"], ready["port"]}
    health.source.connected = False
    assert (OK, UNWELL) == (pages[live["path"]]()[0], pages[ready["path"]]()[0])


def test_the_pod_may_do_nothing_else(objects: dict[str, Any], container: dict[str, Any]) -> None:
    """No root, no rights, nothing to write to but the state; labels and volumes fit each other."""
    pod = objects["Deployment"]["spec"]["template"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = container["securityContext"]
    assert (False, True) == (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"])
    assert {"drop": ["ALL"]} == own["capabilities"]
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    mounted = {row["name"] for row in container["volumeMounts"]}
    assert mounted == {row["name"] for row in pod["spec"]["volumes"]}
    named = {"ConfigMap", "Secret", "PersistentVolumeClaim"}
    assert {"celery-statsd"} == {objects[kind]["metadata"]["name"] for kind in named}
