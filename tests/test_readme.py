"""The README says what is true now."""

import re

from celery_statsd.rules import CATALOGUE, FAMILIES
from tests.readme import README, with_catalogue


def test_catalogue_is_made_from_the_rows() -> None:
    """`make readme` would change nothing."""
    text = README.read_text()

    assert with_catalogue(text) == text


def test_every_metric_named_in_a_path_exists() -> None:
    """The example series in README and grafana/ are of metrics in the catalogue."""
    known = {(family, rule.metric) for rule in CATALOGUE for family in rule.families}
    grafana = README.parent / "grafana" / "README.md"
    paths = re.findall(
        r"stats\.\w+\.celery\.default\.([\w.@*{},-]+)", README.read_text() + grafana.read_text()
    )
    named = {
        (path.split(".")[0], metric)
        for path in paths
        for metric in path.split(".")[2].strip("{}").split(",")
    }

    assert paths
    assert {family for family, _ in named} <= set(FAMILIES)
    assert named <= known
