"""The log: whole lines, no secret in them, and no way to stop the agent."""

import io
import json
import math
import threading
import time
import urllib.parse

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from celery_statsd.log import Log, masked, redact

SCHEMES = st.sampled_from(["amqp", "amqps", "redis", "rediss", "sentinel", "redis+socket", "sqs"])
USERS = st.from_regex(r"[a-z0-9_.%-]{0,8}", fullmatch=True)
HOSTS = st.sampled_from(["h", "10.0.0.1:5672", "[::1]:6379", "a.b-c.example:1//", "h/v?x=1"])
PASSWORDS = st.text(
    st.characters(codec="utf-8", exclude_characters=" \t\r\n\f\v"), min_size=1, max_size=30
).filter(lambda password: "://" not in password)
URLS = st.tuples(SCHEMES, USERS, PASSWORDS, HOSTS)


def written(form: str, **fields: object) -> str:
    """The line the log writes for an event with `fields`."""
    stream = io.StringIO()
    Log(form=form, stream=stream).info("happened", **fields)
    return stream.getvalue()


@given(URLS)
@example(("amqp", "u", "p@ss/w:or?d#;,", "h"))
@example(("redis", "", "pw", "h"))
@example(("amqp", "me@corp", "pw", "h"))
def test_redact_masks_any_password(url: tuple[str, str, str, str]) -> None:
    """Whatever a password is made of, nothing of it is left and nothing else is touched."""
    scheme, user, password, host = url
    assert f"at {scheme}://{user}:***@{host} now" == redact(
        f"at {scheme}://{user}:{password}@{host} now"
    )


@given(URLS)
def test_redact_masks_percent_encoded_passwords(url: tuple[str, str, str, str]) -> None:
    """A percent-encoded password is masked as a plain one."""
    scheme, user, password, host = url
    encoded = urllib.parse.quote(password, safe="")
    assert f"{scheme}://{user}:***@{host}" == redact(f"{scheme}://{user}:{encoded}@{host}")


@given(st.lists(URLS, min_size=2, max_size=4), st.sampled_from([";", ",", " ", "\n", "|", "', '"]))
def test_redact_masks_each_url_of_a_list(urls: list[tuple[str, str, str, str]], mark: str) -> None:
    """In a list of URLs each keeps its host and loses its password."""
    given = mark.join(f"{scheme}://{user}:{secret}@{host}" for scheme, user, secret, host in urls)
    expected = mark.join(f"{scheme}://{user}:***@{host}" for scheme, user, _, host in urls)
    assert expected == redact(given)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://h/0?password=s3cret&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h:1/0?db=1&PASSWORD=s3:c@ret/x", "redis://h:***"),
        ("redis://h/0?client_secret=s3cret", "redis://h/0?client_secret=***"),
        ("amqp://u:s3?password=x@cret", "amqp://u:***"),
        ("amqp://u:s3?password=x&y@h", "amqp://u:***@h"),
        ("{'password': 's3 cret', 'db': 1}", "{'password': ***, 'db': 1}"),
        ('{"sentinel_kwargs": {"password":"s3"}}', '{"sentinel_kwargs": {"password":***}}'),
        ("Connection(password='s3 cret', db=0)", "Connection(password=***, db=0)"),
        ("no scheme: guest:s3cret@h", "no scheme: guest:***@h"),
        ("xamqp://u:s3@h1;amqp://u:cret@h2", "xamqp://u:***@h1;amqp://u:***@h2"),
    ],
)
def test_redact_masks_secrets_in_other_places(text: str, expected: str) -> None:
    """Secrets of query strings, of data written as text and of half URLs are masked as well."""
    assert expected == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "statsd://127.0.0.1:8125?mtu=1432",
        "sentinel://h1:26379;sentinel://h2:26379",
        "redis://user@h:6379/0",
        "worker celery@host-1: up, took 12:30",
        "http://h:1/x mail me@example.org",
        "the user name or password was wrong",
    ],
)
def test_redact_leaves_harmless_text(text: str) -> None:
    """Where no secret stands, nothing changes."""
    assert text == redact(text)


@given(st.text())
def test_redact_is_stable(text: str) -> None:
    """What was redacted once does not change any more."""
    once = redact(text)
    assert once == redact(once)


@pytest.mark.parametrize("piece", ["a", "a@", ":", "a:", "://", ";a://", "password", "'", "a:@;"])
def test_redact_takes_linear_time(piece: str) -> None:
    """A long hostile text does not hold the agent up."""
    start = time.process_time()
    redact(piece * (200_000 // len(piece)) + "@")
    assert time.process_time() - start < 5


@given(st.recursive(st.just("amqp://u:s3cret@h"), lambda inner: st.lists(inner, max_size=3)))
def test_masked_reaches_inside(value: object) -> None:
    """Each text in lists of any depth is redacted."""
    assert "s3cret" not in repr(masked(value))


def test_masked_hides_what_a_secret_name_names() -> None:
    """A value under a secret name is hidden, whatever it is; one that is not there stays None."""
    value = {"password": 5, "sas_token": ["a"], "inner": {"Client_Secret": "x"}, "api-key": None}
    expected = {"password": "***", "sas_token": "***", "inner": {"Client_Secret": "***"}}
    assert expected | {"api-key": None} == masked(value)


def test_text_line_reads_as_words() -> None:
    """A text line is the level, the event, and the fields in their order."""
    assert "info happened a=1 b=x/y c=None\n" == written("text", a=1, b="x/y", c=None)


@given(st.text(), st.text())
def test_text_line_is_one_line_of_ascii(first: str, second: str) -> None:
    """No value breaks a line, steers a terminal or fails to be encoded."""
    line = written("text", a=first, b=second)
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()


@given(st.text())
def test_quoted_values_can_be_read_back(value: str) -> None:
    """What a text line quotes is JSON, so the value is not lost."""
    assume(redact(value) == value)
    shown = written("text", a=value).removeprefix("info happened a=")[:-1]
    assert value == (json.loads(shown) if shown.startswith('"') else shown)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b"]),
        st.one_of(
            st.floats(), st.integers(-9, 9), st.text(), st.dictionaries(st.text(), st.text())
        ),
    )
)
def test_json_line_is_strict_json(fields: dict[str, object]) -> None:
    """A JSON line is one object that any reader of JSON takes, whatever the fields hold."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    row = json.loads(written("json", **fields), parse_constant=refuse)
    assert {"time", "level", "event", *fields} == set(row)
    assert ("info", "happened") == (row["level"], row["event"])


def test_json_numbers_stay_numbers() -> None:
    """Numbers are not quoted in JSON; what JSON has no word for is text."""
    row = json.loads(written("json", whole=3, part=0.5, endless=math.inf, error=OSError("no")))
    assert (3, 0.5, "inf", "no") == (row["whole"], row["part"], row["endless"], row["error"])


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_logged(form: str) -> None:
    """Neither an error's text nor a structure takes a password into the log, quotes or not."""
    secret = "s3\"cr et'\\"
    line = written(
        form,
        error=OSError('cannot reach amqp://u:s3"cret@h'),
        options={"password": secret, "urls": ["redis://:s3cret@h"]},
        password=secret,
    )
    assert "s3" not in line


def test_level_is_a_floor() -> None:
    """Events below the level are not written, those at it are."""
    stream = io.StringIO()
    log = Log("warning", stream=stream)
    log.debug("one")
    log.info("two")
    log.warning("three")
    log.error("four")
    assert ["warning three", "error four"] == stream.getvalue().splitlines()


def test_a_full_disk_does_not_stop_the_agent() -> None:
    """A line that cannot be written is counted, not raised."""
    with open("/dev/full", "wb", buffering=0) as raw:
        log = Log(stream=io.TextIOWrapper(raw, write_through=True))
        log.info("one")
        log.info("two")
    log.info("three")  # the stream is closed by now
    assert 3 == log.dropped


class Yielding(io.StringIO):
    """A stream that lets another thread run after each write."""

    def write(self, text: str) -> int:
        """As a StringIO does, then give the turn away."""
        size = super().write(text)
        time.sleep(0)
        return size


def test_lines_of_threads_do_not_mix() -> None:
    """Each line of several threads stands whole in the log."""
    stream = Yielding()
    log = Log(stream=stream)
    threads = [
        threading.Thread(target=lambda: [log.info("x", a="y" * 50) for _ in range(300)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"info x a={'y' * 50}"] * 1200 == stream.getvalue().splitlines()


def test_a_log_can_be_turned_while_it_is_written() -> None:
    """To another level and another form, from one line to the next."""
    stream = io.StringIO()
    log = Log("warning", "text", stream)
    log.info("unheard")
    log.turn_to("debug", "json")
    log.debug("heard", n=1)
    log.turn_to("error", "text")
    log.warning("unheard")
    log.error("heard", n=2)
    first, second = stream.getvalue().splitlines()

    assert ("heard", 1) == (json.loads(first)["event"], json.loads(first)["n"])
    assert "error heard n=2" == second
