"""README and documents say what is true now of the metrics."""

import re
from pathlib import Path

import pytest

from celery_statsd.rules import CATALOGUE, FAMILIES
from tests.readme import DOCUMENTS, README, with_catalogue

SHORT = re.compile(rf"\b({'|'.join(FAMILIES)})\.(?:all|<\w+>)\.(\{{[^}}]+\}}|\w+)")
"""A series as the documents name it: family, entity, metric."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_catalogue_is_made_from_the_rows(document: Path) -> None:
    """`make readme` would change nothing."""
    text = document.read_text()

    assert with_catalogue(text) == text


def test_every_metric_named_in_a_path_exists() -> None:
    """The example series in README, docs/ and grafana/ are of metrics in the catalogue."""
    known = {(family, rule.metric) for rule in CATALOGUE for family in rule.families}
    files = (README, README.parent / "grafana" / "README.md", *README.parent.glob("docs/*.md"))
    text = "\n".join(file.read_text() for file in files)
    paths = re.findall(r"stats\.\w+\.celery\.default\.([\w.@*{},-]+)", text)
    short = {(family, metric) for family, metric in SHORT.findall(text) if metric[0] != "{"}
    assert short <= known
    named = {
        (path.split(".")[0], metric)
        for path in paths
        for metric in path.split(".")[2].strip("{}").split(",")
    }

    assert paths
    assert {family for family, _ in named} <= set(FAMILIES)
    assert named <= known
