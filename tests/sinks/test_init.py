"""The face of the sinks: an address becomes a sink, or a sentence."""

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.sinks import SINKS, sink_from


def test_an_unknown_scheme_names_the_known_ones():
    """The cure is a list to choose from."""
    with pytest.raises(ConfigError) as error:
        sink_from("stats://h")
    assert [] == [scheme for scheme in SINKS if scheme not in str(error.value)]


def test_every_scheme_of_the_readme_is_there():
    """What is promised can be made."""
    assert {
        "console",
        "graphite",
        "graphite+pickle",
        "memory",
        "statsd",
        "statsd+tcp",
        "statsd+unix",
        "statsd+unixgram",
    } == set(SINKS)
