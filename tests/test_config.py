"""The settings: the strongest layer wins, and each value tells where it comes from."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celery_statsd.config import KEYS, Settings, load

SHIPPED = Path(__file__).parent.parent / "config" / "celery-statsd.yml"
NOWHERE = "/nowhere/celery-statsd.yml"
WORDS = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
URL_LISTS = st.lists(WORDS.map("amqp://{}".format), min_size=1, max_size=3)
SECONDS = st.floats(0.1, 86_400)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "broker": URL_LISTS,
    "sinks": URL_LISTS,
    "tls": st.booleans(),
    "tls_verify": st.booleans(),
    "large_reads": st.booleans(),
    "probes": st.booleans(),
    "management_all_vhosts": st.booleans(),
    "http": st.just("127.0.0.1:9808"),
    "probe_interval": SECONDS,
    "inspect_interval": st.floats(0, 86_400),
    "queues": st.lists(WORDS, min_size=1, max_size=3, unique=True),
    "queue_levels": st.dictionaries(WORDS, st.sampled_from([[1, 2, 3], [100, 500, 1000]])),
    "management": WORDS.map("http://{}:15672".format),
    "tls_ca_file": st.sampled_from([__file__, str(SHIPPED)]),
    "transport_options": st.dictionaries(WORDS, st.integers()),
    "flush_interval": SECONDS,
    "lost_after": SECONDS,
    "unreported_after": SECONDS,
    "worker_silence": st.floats(1, 1000),
    "worker_template": st.sampled_from(["deployment", "pods", "-([0-9]+)$"]),
    "log_level": st.sampled_from(["debug", "error"]),
    "log_format": st.sampled_from(["text", "json"]),
    "event_queue_type": st.sampled_from(["quorum", "classic", "transient"]),
    "scope": st.sampled_from(["cluster", "host"]),
    **dict.fromkeys(("partitions", "partition"), st.integers(1, 1000)),
    **dict.fromkeys(("prefix", "app", "group", "host", "state_dir", "tls_server_name"), WORDS),
    **dict.fromkeys(("event_exchange", "event_queue_prefix", "control_exchange"), WORDS),
    **{
        name: st.integers(1, 10**9)
        for name in ("max_attempts", "max_series", "max_workers", "reservoir")
    },
}
LAYERS = st.fixed_dictionaries({}, optional=VALUES)


def loaded(
    text: str | bytes | None = None,
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    found: Mapping[str, Any] | None = None,
    **flags: Any,
) -> Settings:
    """The settings from a file with `text`, the environment, an app, and flags."""
    if path is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text or b"")
    return load(flags, environ or {}, str(path) if path else None, lambda _: found or {}, NOWHERE)


def as_text(value: Any) -> str:
    """`value` as a flag or a variable spells it."""
    if isinstance(value, list):
        return "\n".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def same(value: Any) -> Any:
    """`value` as the settings hold it."""
    return tuple(value) if isinstance(value, list) else value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a configuration file may be written."""
    return tmp_path / "x.yml"


def test_defaults_are_those_of_the_table() -> None:
    """With nothing set, each key has its default and says so."""
    nothing = loaded()
    for key in KEYS:
        assert (key.default, "default") == (getattr(nothing, key.name), nothing.origins[key.name])
    assert nothing.file is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.tuples(LAYERS, LAYERS, LAYERS, LAYERS), with_app=st.booleans())
def test_the_strongest_layer_wins(
    file: Path, layers: tuple[dict[str, Any], ...], with_app: bool
) -> None:
    """Any layers give each key the strongest value, and the origin it came from."""
    flags, variables, rows, app = layers
    environ = {f"CELERY_STATSD_{name.upper()}": as_text(raw) for name, raw in variables.items()}
    if with_app:
        environ["CELERY_STATSD_CELERY_APP"] = "proj.celery"
    spelled = {name: as_text(raw) for name, raw in flags.items()}
    got = loaded(json.dumps(rows), file, environ=environ, found=app, **spelled)
    for name in VALUES:
        ranks = [
            (flags, "flag"),
            (variables, f"environment CELERY_STATSD_{name.upper()}"),
            (rows, f"file {file}"),
            (app if with_app else {}, "app proj.celery"),
            ({key.name: key.default for key in KEYS}, "default"),
        ]
        expected = next((same(layer[name]), origin) for layer, origin in ranks if name in layer)
        assert expected == (getattr(got, name), got.origins[name])


def test_each_key_is_tried_by_the_property() -> None:
    """The test above leaves out no key but those with rules of their own."""
    special = {"broker_file", "celery_app", "tls_cert_file", "tls_key_file"}
    assert {key.name for key in KEYS} == VALUES.keys() | special


def test_the_shipped_file_shows_every_default() -> None:
    """The file has the table's keys, in its order, with its defaults, all commented out."""
    lines = SHIPPED.read_text().splitlines()
    rows = yaml.safe_load("\n".join(line[1:] for line in lines if re.match(r"#\w+:", line)))
    assert [key.name for key in KEYS] == list(rows)
    assert {key.name: key.default for key in KEYS} == {n: same(raw) for n, raw in rows.items()}
    assert {"#"} == {line[0] for line in lines if line}


def test_the_shipped_file_loads(file: Path) -> None:
    """The file as it is, and with every key uncommented, gives the defaults."""
    bare = re.sub(r"(?m)^#(?=\w+:)", "", SHIPPED.read_text())
    defaults = [value for _, value, _ in loaded().shown()]
    assert defaults == [value for _, value, _ in loaded(bare, file).shown()]
    assert "flush_interval: 10.0" in bare.splitlines()
    shipped = load({}, {}, str(SHIPPED), lambda _: {}, NOWHERE)
    assert [("default", str(SHIPPED))] == list({(o, shipped.file) for _, _, o in shipped.shown()})


def test_the_file_is_found(tmp_path: Path) -> None:
    """The flag names the file, else the variable, else the usual place is read if it is there."""
    for name in ("flag", "variable", "usual"):
        (tmp_path / name).write_text(f"app: {name}\n")
    flag, variable, usual = (str(tmp_path / name) for name in ("flag", "variable", "usual"))
    environ = {"CELERY_STATSD_CONFIG": variable}
    seen = [
        load({}, environ, flag, lambda _: {}, usual),
        load({}, environ, None, lambda _: {}, usual),
        load({}, {}, None, lambda _: {}, usual),
        load({}, {}, None, lambda _: {}, NOWHERE),
    ]
    assert ["flag", "variable", "usual", "default"] == [one.app for one in seen]
    assert [flag, variable, usual, None] == [one.file for one in seen]


def test_empty_means_not_set(file: Path) -> None:
    """An empty variable, a null in the file and a flag not given leave a key alone."""
    got = loaded("host:\nprefix: ~\n", file, environ={"CELERY_STATSD_APP": ""}, app=None, sinks=())
    assert {"default"} == set(got.origins.values())


def test_a_credential_is_weaker_than_the_environment_and_stronger_than_the_file(
    file: Path, tmp_path: Path
) -> None:
    """What a service manager hands over has its place among the layers, and its origin."""
    handed = tmp_path / "handed"
    handed.mkdir()
    (handed / "broker").write_text("redis://handed\n")
    (handed / "tls_ca_file").write_text("-----BEGIN")
    (handed / "management").write_text("#\n")
    environ = {"CREDENTIALS_DIRECTORY": str(handed)}
    text = "broker: redis://file\nmanagement: http://file"
    got = loaded(text, file, environ=environ)
    assert (("redis://handed",), "credential broker") == (got.broker, got.origins["broker"])
    assert str(handed / "tls_ca_file") == got.tls_ca_file
    assert ("http://file", f"file {file}") == (got.management, got.origins["management"])
    over = loaded(text, file, environ=environ | {"CELERY_STATSD_BROKER": "redis://over"})
    assert "environment CELERY_STATSD_BROKER" == over.origins["broker"]


def test_a_credential_puts_the_rival_of_a_weaker_layer_out_of_force(
    file: Path, tmp_path: Path
) -> None:
    """A file that names a broker_file is no obstacle to a broker that is handed over."""
    handed = tmp_path / "handed"
    handed.mkdir()
    (handed / "broker").write_text("redis://handed")
    got = loaded("broker_file: /x", file, environ={"CREDENTIALS_DIRECTORY": str(handed)})
    assert (("redis://handed",), None) == (got.broker, got.broker_file)


def test_the_app_is_asked_only_when_it_is_named() -> None:
    """The app layer is called once, with the strongest name, and only then."""
    asked: list[str] = []

    def app_layer(path: str) -> Mapping[str, Any]:
        asked.append(path)
        return {"broker": "redis://:s3@h", "host": None}

    load({}, {}, None, app_layer, NOWHERE)
    environ = {"CELERY_STATSD_CELERY_APP": "weak"}
    got = load({"celery_app": "proj:app"}, environ, None, app_layer, NOWHERE)
    assert ["proj:app"] == asked
    assert (("redis://:s3@h",), "app proj:app") == (got.broker, got.origins["broker"])
    assert (None, "default") == (got.host, got.origins["host"])


def test_shown_masks_and_tells_the_origin() -> None:
    """The settings are shown in the table's order, masked, with their origins."""
    got = loaded(broker="amqp://u:s3cret@h", transport_options='{"password": "x", "a": 1}')
    assert [key.name for key in KEYS] == [name for name, _, _ in got.shown()]
    assert ("broker", ("amqp://u:***@h",), "flag") in got.shown()
    assert ("transport_options", {"password": "***", "a": 1}, "flag") in got.shown()
    assert "broker=('amqp://u:***@h',)" in repr(got)


def test_a_certificate_comes_with_its_key(file: Path) -> None:
    """A certificate and its key may stand in different layers."""
    got = loaded(f"tls_key_file: {__file__}", file, tls_cert_file=str(SHIPPED))
    assert (str(SHIPPED), __file__) == (got.tls_cert_file, got.tls_key_file)


def broker_file(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    """The path of a broker file."""
    path = tmp_path / "broker"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_the_broker_file_gives_the_urls(tmp_path: Path) -> None:
    """One URL a line; blank lines and comments are passed over; the origin names the file."""
    path = broker_file(tmp_path, "# ours\n\n amqp://u:s3cret@h1//\nredis://h2\n")
    got = loaded(broker_file=path)
    assert ("amqp://u:s3cret@h1//", "redis://h2") == got.broker
    assert (f"broker_file {path}", "flag") == (got.origins["broker"], got.origins["broker_file"])


@pytest.mark.parametrize("stronger", ["broker", "broker_file"])
def test_the_stronger_of_broker_and_broker_file_wins(tmp_path: Path, stronger: str) -> None:
    """A stronger layer's choice puts the other one out of force."""
    given = {"broker": "redis://given", "broker_file": broker_file(tmp_path, "redis://kept")}
    weaker = "broker_file" if stronger == "broker" else "broker"
    environ = {f"CELERY_STATSD_{weaker.upper()}": given[weaker]}
    got = loaded(environ=environ, **{stronger: given[stronger]})
    kept = {"broker": (("redis://given",), None), "broker_file": (("redis://kept",), given)}
    expected = kept[stronger]
    assert expected[0] == got.broker
    assert (expected[1] and given["broker_file"]) == got.broker_file
