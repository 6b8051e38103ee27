"""What panels are made of."""

from celery_statsd.dashboards.panels import (
    OK,
    Dashboard,
    Panel,
    Row,
    Words,
    by,
    called,
    now,
    should_be_zero,
    tile,
    top,
    total,
)


def test_a_description_asks_explains_and_excuses() -> None:
    """In this order; what is not there leaves no gap."""
    panel = Panel("Lost", "Was any lost?", (), "Red from 1.", empty="nothing ran")
    assert "Was any lost?\n\nRed from 1.\n\nEmpty when nothing ran." == panel.description
    assert "Was any lost?" == Panel("Lost", "Was any lost?", ()).description


def test_forms_of_panels() -> None:
    """A tile is small, one that should be zero says OK, a list of leaders is made of bars."""
    assert ("stat", 3, 4, ()) == _form(tile("a", "?", "t"))
    assert ("stat", 4, 4, OK) == _form(should_be_zero("a", "?", "t", "Red.", width=4))
    assert ("bargauge", 8, 8, ()) == _form(top("a", "?", "t"))
    assert ("timeseries", 12, 8, ()) == _form(Panel("a", "?", ("t",)))


def _form(panel: Panel) -> tuple[str, int, int, Words]:
    return panel.type, panel.width, panel.height, panel.words


def test_a_dashboard_has_the_panels_of_its_rows() -> None:
    """In order."""
    a, b = tile("a", "?", "t"), tile("b", "?", "t")
    assert (a, b) == Dashboard("x", "X", "", (Row("1", (a,)), Row("2", (b,)))).panels


def test_pieces_of_targets() -> None:
    """What they are for is proven on a Graphite (see `test_overview`)."""
    assert "consolidateBy(integral(sumSeries(C[a.b.c])),'last')" == total("C[a.b.c]")
    assert "consolidateBy(x,'last')" == now("x")
    assert "groupByNode(G[a.*.c],@G.entity,'maxSeries')" == by("G", "a.*.c", "max")
    assert "aliasByNode(x,0)" == called("x")
