"""`celery-statsd metrics`: the catalogue, for people and for programs."""

from collections.abc import Callable, Sequence

import pytest

from celery_statsd.catalogue import as_json, as_markdown, as_table
from tests.cli.program import run


@pytest.mark.parametrize(
    ("flags", "make"), [([], as_table), (["--json"], as_json), (["--markdown"], as_markdown)]
)
def test_metrics_shows_the_catalogue(flags: Sequence[str], make: Callable[[], str]) -> None:
    """As a table, as JSON, as the README has it."""
    found = run("metrics", *flags)

    assert (0, f"{make()}\n", "") == (found.returncode, found.stdout, found.stderr)
