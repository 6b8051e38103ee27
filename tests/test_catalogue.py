"""The catalogue as people and programs read it."""

import json

from celery_statsd.catalogue import as_json, as_markdown, as_table, rows
from celery_statsd.rules import CATALOGUE, FAMILIES

EVERY = {(family, rule.metric, rule.kind.value) for rule in CATALOGUE for family in rule.families}
"""What there is, from the rules themselves."""


def test_json_has_every_metric_of_every_family() -> None:
    """A list of objects, from which nothing of the catalogue is missing, each row once."""
    found = json.loads(as_json())
    named = [(family, row["metric"], row["kind"]) for row in found for family in row["families"]]

    assert set(named) == EVERY
    assert len(named) == len(EVERY)


def test_each_row_says_what_it_means() -> None:
    """No cell is empty, and no meaning holds what would break a table."""
    for row in rows():
        assert all(row)
        assert "|" not in "".join(row)
        assert "\n" not in "".join(row)


def test_table_has_a_line_a_row_with_the_columns_aligned() -> None:
    """Under the heads stand the rows; every meaning begins in the column of its head."""
    head, *lines = as_table().splitlines()
    column = head.index("meaning")

    assert [row[-1] for row in rows()] == [line[column:] for line in lines]
    assert {" "} == {line[column - 1] for line in lines}


def test_markdown_has_a_table_a_family() -> None:
    """Each family has its heading, and below it exactly its own metrics."""
    found = set()
    for part in as_markdown().split("\n\n**"):
        family, _, table = part.strip("*").partition("**")
        for line in table.splitlines()[4:]:
            metric, kind, _ = line.strip("| ").split(" | ", 2)
            found.add((family, metric.strip("`"), kind.partition(",")[0]))

    assert EVERY == found
    assert list(FAMILIES) == [
        line.strip("*") for line in as_markdown().splitlines() if line.startswith("**")
    ]
