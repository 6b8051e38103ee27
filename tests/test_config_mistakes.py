"""Wrong settings: every mistake is told with its place and its cure, and without a secret."""

import json
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from celery_statsd.config import KEYS, Misconfigured, load
from celery_statsd.errors import ConfigError
from tests.test_config import NOWHERE, broker_file, loaded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a configuration file may be written."""
    return tmp_path / "x.yml"


def refusal(*arguments: Any, **options: Any) -> str:
    """What `loaded` refuses the settings with."""
    with pytest.raises(ConfigError) as told:
        loaded(*arguments, **options)
    return str(told.value)


def test_a_broken_app_is_one_problem_among_others() -> None:
    """What the app layer raises is told beside the other mistakes."""

    def app_layer(path: str) -> Mapping[str, Any]:
        raise ConfigError("celery_app", f"{path} cannot be imported", "mend it")

    with pytest.raises(Misconfigured) as told:
        load({"celery_app": "x", "tls": "maybe"}, {}, None, app_layer, NOWHERE)
    assert ["celery_app", "tls"] == [error.key for error in told.value.errors]


def test_a_credential_that_is_wrong_is_told_by_its_name(tmp_path: Path) -> None:
    """One of no key, and one whose value is wrong, without the value."""
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / "brokr").write_text("s3cret")
    told = "brokr: no such setting (the credentials); did you mean broker?"
    assert told == refusal(environ=environ)
    (tmp_path / "brokr").rename(tmp_path / "transport_options")
    told = "transport_options: *** from the credential transport_options is not JSON; write "
    assert refusal(environ=environ).startswith(told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("brokr: x", "brokr: no such setting ({0}, line 1); did you mean broker?"),
        ("\nflush-interval: 5", "flush-interval: no such setting ({0}, line 2); did you mean fl"),
        ("xyzzy: 5", "xyzzy: no such setting ({0}, line 1); known are broker, broker_file, cele"),
        ('"a\\x07b": 5', "'a\\x07b': no such setting ({0}, line 1); "),
        ("? [a]\n: 5", "?: no such setting ({0}, line 1); "),
        ("app: a\napp: b", "app: set again in {0}, line 2, after line 1; keep one"),
        ("- app", "config: {0} holds no keys; write one `key: value` a line"),
        ("just text", "config: {0} holds no keys; "),
        ("app: [a]", "app: ('a',) from {0}, line 1 is not text; write text (in quotes, "),
        ("app: 5", "app: 5 from {0}, line 1 is not text; write text (in quotes, "),
        ("app: no", "app: False from {0}, line 1 is not text; "),
        ("app: !!python/name:os.system x", "app: its value in {0}, line 1 has a tag or a form"),
        ("app: !mine x", "app: its value in {0}, line 1 has a tag or a form"),
        ("max_series: 0777", "max_series: its value in {0}, line 1 looks like a number or a swi"),
        ("max_series: " + "9" * 5000, "max_series: its value in {0}, line 1 looks like a number"),
        ("max_series: 0", "max_series: 0 from {0}, line 1 is out of range; write a whole number"),
        ("transport_options: {a: 1, a: 2}", "transport_options: its value in {0}, line 1 has a k"),
        ("transport_options: &a {b: *a}", "transport_options: its value in {0}, line 1 uses an a"),
        ("transport_options: {<<: {a: 1}}", "transport_options: its value in {0}, line 1 has a t"),
        ("transport_options: {p: *s3cret}", "config: {0}, line 1, column 24: found undefined ali"),
        ("app: a\n b: c", "config: {0}, line 2, column 3: mapping values are not allowed here; "),
        ("app: 'a", "config: {0}, line 1, column 8: found unexpected end of stream; mend the YA"),
        ("app: a\n---\napp: b", "config: {0}, line 2, column 1: but found another document"),
        ("app: \x07", "config: {0} holds characters YAML forbids; remove them"),
        ('app: "\\UFFFFFFFF"', "config: {0} holds characters YAML forbids; remove them"),
        ("[" * 5000, "config: {0} is nested too deeply; flatten it"),
        ("#" * 300_000, "config: {0} is too long; keep it under 262144 characters"),
        (b"\xff\xfea", "config: {0} is not UTF-8 text; save it as UTF-8"),
        ("tls_ca_file: /nowhere/x", "tls_ca_file: '/nowhere/x' from {0}, line 1 does not exist; "),
        (f"tls_cert_file: {__file__}", "tls_cert_file: it is set, but tls_key_file is not; set"),
        (f"tls_key_file: {__file__}", "tls_key_file: it is set, but tls_cert_file is not; set"),
        ("broker: a://b\nbroker_file: /x", "broker: broker_file is set beside it (file {0}); ke"),
    ],
)
def test_a_mistake_in_the_file_is_told(file: Path, text: str | bytes, expected: str) -> None:
    """The sentence has the key, the place in the file, the problem and the cure."""
    told = refusal(text, file)
    assert expected.format(file) in told
    assert "s3cret" not in told


def test_a_mistake_in_the_environment_is_told() -> None:
    """A variable of ours nobody knows is an error with the nearest name."""
    told = refusal(environ={"CELERY_STATSD_BROKR": "amqp://u:s3cret@h"})
    assert "did you mean CELERY_STATSD_BROKER?" in told
    assert told.startswith("CELERY_STATSD_BROKR: no such setting (the environment); ")
    assert "s3cret" not in told
    told = refusal(environ={"CELERY_STATSD_FLUSH_INTERVAL": "soon"})
    assert "'soon' from the variable CELERY_STATSD_FLUSH_INTERVAL is not a number; write" in told


def test_a_mistake_on_the_command_line_is_told() -> None:
    """A flag's value is blamed on the flag, a flag nobody knows on the command line."""
    assert "sinks: 'x' from the flag --sink holds something that is no" in refusal(sinks="x")
    assert "sinks: 'x' from the flag --sink holds something that is no" in refusal(sinks=("x",))
    assert "brokr: no such setting (the command line); did you mean broker?" in refusal(brokr=1)


@pytest.mark.parametrize("raw", [9808, "9808", "127.0.0.1", "localhost:http", True])
def test_a_place_that_is_none_is_told(raw: object) -> None:
    """The port alone is a number to YAML: to be told to write text would be of no help."""
    assert "is no host:port; write host:port, as 127.0.0.1:9808" in refusal(http=raw)


def test_links_of_kubernetes_are_no_mistake() -> None:
    """What Kubernetes sets for a Service of our name is not taken for a setting."""
    links = {
        "CELERY_STATSD_SERVICE_HOST": "10.0.0.1",
        "CELERY_STATSD_SERVICE_PORT": "8125",
        "CELERY_STATSD_SERVICE_PORT_UDP": "8125",
        "CELERY_STATSD_PORT": "udp://10.0.0.1:8125",
        "CELERY_STATSD_PORT_8125_UDP_ADDR": "10.0.0.1",
        "CELERY_STATSD_EU_PORT_8125_UDP": "udp://10.0.0.1:8125",
    }
    assert loaded().shown() == loaded(environ=links).shown()
    assert "CELERY_STATSD_PORT: no such" in refusal(environ={"CELERY_STATSD_PORT": "8125"})


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A file that was named has to be there."""
    told = f"config: {tmp_path}/x cannot be read (No such file or directory); name a file"
    environ = {"CELERY_STATSD_CONFIG": f"{tmp_path}/x"}
    assert told in refusal(environ=environ)
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        load({}, {}, str(tmp_path), lambda _: {}, NOWHERE)


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    """Several mistakes of several layers are one sentence a line."""
    environ = {"CELERY_STATSD_TLS": "maybe", "CELERY_STATSD_X": "1"}
    with pytest.raises(Misconfigured) as told:
        loaded("max_series: 0\nbogus: 1\n", file, environ=environ, log_level="loud")
    keys = {"CELERY_STATSD_X", "bogus", "tls", "max_series", "log_level"}
    assert keys == {error.key for error in told.value.errors}
    assert [str(error) for error in told.value.errors] == str(told.value).splitlines()
    assert told.value.key == told.value.errors[0].key


def test_a_mistake_that_was_overridden_is_not_judged(file: Path) -> None:
    """Only the value in force has to be right."""
    assert 5.0 == loaded("flush_interval: soon", file, flush_interval="5").flush_interval


SECRETS = st.from_regex(r"s3cret[@/:?#&=\w'\"%;,]{0,8}", fullmatch=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SECRETS, st.sampled_from(["amqp://u:{}@h", "redis://h/0?password={}", "{}", "a b:{}@h"]))
@example("s3cret", "amqp:/u:{}@h")
@example("s3cret", "amqp://u:my {}@h")
def test_a_secret_is_never_shown(file: Path, secret: str, form: str) -> None:
    """Wherever a password stands, right or wrong, nothing the settings say holds it."""
    broker, options = form.format(secret), {"sentinel_kwargs": {"password": secret}}
    for rows in (
        {"broker": broker},
        {"broker": [broker, 5]},
        {"broker": {broker: broker}},
        {"transport_options": options},
        {"transport_options": [options]},
        {"transport_options": json.dumps(options)[:-1]},
    ):
        try:
            got = loaded(json.dumps(rows), file)
        except ConfigError as error:
            told = "".join(traceback.format_exception(error))
        else:
            told = f"{got!r} {got} {got.shown()}"
        assert "s3cret" not in told


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_broker_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A file of ours that anybody else may read is refused, with the command that mends it."""
    path = broker_file(tmp_path, "redis://h", mode)
    assert f"broker_file: {path} is open to other users (mode {mode:04o}); run chmod 600" in (
        refusal(broker_file=path)
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_broker_file_of_another_user_may_reach_us_by_its_group(tmp_path: Path) -> None:
    """A file that is not ours may be open to its group, but never to all."""
    path = broker_file(tmp_path, "redis://h", 0o640)
    os.chown(path, 65534, -1)
    assert ("redis://h",) == loaded(broker_file=path).broker
    os.chmod(path, 0o644)
    assert "is open to other users (mode 0644)" in refusal(broker_file=path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "broker: *** from broker_file {0} names no address; write one or more sch"),
        ("h:s3cret", "broker: *** from broker_file {0} holds something that is no address; "),
        ("a" * 300_000, "broker_file: {0} is too long; "),
    ],
)
def test_a_mistake_in_the_broker_file_is_told(tmp_path: Path, text: str, expected: str) -> None:
    """The sentence names the file and shows nothing of it."""
    path = broker_file(tmp_path, text)
    assert expected.format(path) in refusal(broker_file=path)
    assert "broker_file: /nowhere cannot be read" in refusal(broker_file="/nowhere")


NAMES = st.sampled_from([key.name for key in KEYS if key.name != "celery_app"])
TAGS = [
    "!!",
    "!!int ",
    "!!bool ",
    "!!binary ",
    "!!timestamp ",
    "!!set ",
    "!!float ",
    "!!null ",
    "!<",
]
MARKS = [
    "[",
    "]",
    "{",
    "}",
    ":",
    "- ",
    "? ",
    "&a",
    "*a",
    "<<: ",
    ">",
    "'",
    '"',
    "|",
    "~",
    "#",
    ", ",
]
SPACE = ["%YAML 1.", "---", "...", "\n", "\n ", "\t"]
SCALARS = ["\\U00110000", "\\x", "0x", "1:2", ".nan", "99"]
PIECES = st.sampled_from([*TAGS, *MARKS, *SPACE, *SCALARS])
HOSTILE = st.one_of(
    st.binary(),
    st.text(),
    st.lists(st.one_of(NAMES, PIECES, st.text(max_size=3)), max_size=12).map("".join),
    st.tuples(NAMES, st.lists(PIECES, max_size=6).map("".join)).map(": ".join),
    st.tuples(PIECES, st.integers(1, 2000)).map(lambda pair: pair[0] * pair[1]),
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(HOSTILE)
@example("%YAML 1." + "9" * 5000 + "\n--- {}")
@example("max_series: !!int ''")
@example("max_series: !!bool maybe")
@example("app: !!timestamp x")
@example("app: !!binary '*'")
@example("max_series: 0x" + "f" * 9000)
@example("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]")
def test_no_file_does_more_than_be_refused(file: Path, text: str | bytes) -> None:
    """Whatever the file holds, it is settings or a ConfigError that can be shown."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    try:
        told = loaded(text, file).shown()
    except ConfigError as error:
        told = str(error).splitlines()
    assert told


@given(st.dictionaries(NAMES, st.text().filter(lambda text: "\0" not in text)))
def test_no_environment_does_more_than_be_refused(raws: dict[str, str]) -> None:
    """Whatever the variables hold, they are settings or a ConfigError."""
    environ = {f"CELERY_STATSD_{name.upper()}": raw for name, raw in raws.items()}
    try:
        told = loaded(environ=environ).shown()
    except ConfigError as error:
        told = str(error).splitlines()
    assert told
