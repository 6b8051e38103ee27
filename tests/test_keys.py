"""The table of keys, and what each kind of value takes and refuses."""

import re
from dataclasses import fields
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.keys import KEYS, Key, Settings

BY_NAME = {key.name: key for key in KEYS}
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


def test_settings_have_an_attribute_for_each_key() -> None:
    """The shape of the settings and the table name the same keys in the same order."""
    names = [field.name for field in fields(Settings)]
    assert [*BY_NAME, "origins", "file"] == names


def test_spellings_are_unique() -> None:
    """No flag and no variable means two keys."""
    flags = [part for key in KEYS for flag in key.flags for part in flag.split("/")]
    assert len(flags) == len(set(flags))
    assert len(KEYS) == len({key.variable for key in KEYS})


def test_rivals_and_partners_are_mutual() -> None:
    """Who names a rival or a partner is named back."""
    for key in KEYS:
        assert key.rival is None or BY_NAME[key.rival].rival == key.name
        assert key.partner is None or BY_NAME[key.partner].partner == key.name


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_a_default_is_what_its_kind_reads(key: Key) -> None:
    """Each default is fit to be set, and stays as it is."""
    assert key.default is None or key.default == key.kind.read(key.default)


def test_click_takes_every_flag() -> None:
    """An option can be made of each row, named as its key, and is not given by default."""
    options = [
        click.Option([*key.flags, key.name], multiple=key.repeatable, default=None) for key in KEYS
    ]
    command = click.Command("x", params=list(options), callback=lambda **values: values)
    arguments = ["-b", "a://1", "--broker", "b://2", "--sink", "c://3", "--no-tls", "-A", "proj"]
    values = command.main([*arguments, "--flush-interval", "5"], standalone_mode=False)
    assert list(BY_NAME) == [option.name for option in options]
    assert ("a://1", "b://2") == values["broker"]
    assert (("c://3",), False, "proj") == (values["sinks"], values["tls"], values["celery_app"])
    assert "5" == values["flush_interval"]
    assert {None} == {values[name] for name in ("prefix", "tls_verify", "max_series", "host")}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
@given(raw=ANYTHING)
def test_a_kind_reads_or_refuses(key: Key, raw: Any) -> None:
    """Whatever stands there, it becomes a value or a reason, and a value stays as it is."""
    try:
        value, reason = key.kind.read(raw), ""
    except ValueError as error:
        value, reason = None, str(error)
    assert re.match(r"(is|does|may|holds|names) ", reason) or value == key.kind.read(value)


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("broker", "amqp://h", ("amqp://h",)),
        ("broker", " amqp://h\n redis://:p,w;x@h ", ("amqp://h", "redis://:p,w;x@h")),
        ("broker", ["amqp://h", "redis://i"], ("amqp://h", "redis://i")),
        ("tls", "Yes", True),
        ("tls", "off", False),
        ("tls", True, True),
        ("transport_options", '{"a": {"b": 1}}', {"a": {"b": 1}}),
        ("transport_options", {"a": 1}, {"a": 1}),
        ("flush_interval", "0.1", 0.1),
        ("flush_interval", 5, 5.0),
        ("max_series", "7", 7),
        ("prefix", " celery ", "celery"),
        ("log_level", "debug", "debug"),
    ],
)
def test_values_are_read(name: str, raw: Any, expected: object) -> None:
    """Text of a flag and data of the file become the same value."""
    value = BY_NAME[name].kind.read(raw)
    assert (expected, type(expected)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("broker", [], "names no address"),
        ("broker", ["amqp://h", 5], "is neither an address nor a list of addresses"),
        ("broker", {"a": 1}, "is neither an address nor a list of addresses"),
        ("sinks", "127.0.0.1:8125", "holds something that is no address"),
        ("sinks", ["statsd://a\x07b"], "holds something that is no address"),
        ("tls", 2, "is neither true nor false"),
        ("tls_ca_file", "/nowhere/ca.pem", "does not exist"),
        ("tls_ca_file", "/", "does not exist"),
        ("transport_options", "{", "is not JSON"),
        ("transport_options", "[" * 100_000, "is not JSON"),
        ("transport_options", "[]", "is not a mapping of names to values"),
        ("transport_options", {1: 2}, "is not a mapping of names to values"),
        ("transport_options", '{"a":' + "[" * 20 + "]" * 20 + "}", "is nested too deeply"),
        ("flush_interval", "soon", "is not a number"),
        ("flush_interval", True, "is not a number"),
        ("flush_interval", 10**400, "is not a number"),
        ("flush_interval", 0.09, "is out of range"),
        ("flush_interval", "nan", "is out of range"),
        ("flush_interval", "inf", "is out of range"),
        ("max_series", 1.5, "is not a whole number"),
        ("max_series", True, "is not a whole number"),
        ("max_series", "many", "is not a whole number"),
        ("max_series", 0, "is out of range"),
        ("prefix", ["celery"], "is not text"),
        ("prefix", 5, "is not text"),
        ("prefix", " ", "is empty or holds control characters"),
        ("prefix", "a\nb", "is empty or holds control characters"),
        ("log_level", "loud", "is not among the choices"),
    ],
)
def test_bad_values_are_refused(name: str, raw: Any, reason: str) -> None:
    """A value the agent cannot work with is refused with its reason."""
    with pytest.raises(ValueError, match=f"^{reason}$"):
        BY_NAME[name].kind.read(raw)
