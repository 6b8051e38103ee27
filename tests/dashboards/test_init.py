"""What the package offers."""

from celery_statsd.dashboards.flavours import FLAVOURS


def test_each_flavour_stands_under_its_name() -> None:
    """The plain StatsD first: it is the default."""
    assert [flavour.name for flavour in FLAVOURS.values()] == list(FLAVOURS)
    assert "statsd" == next(iter(FLAVOURS))
