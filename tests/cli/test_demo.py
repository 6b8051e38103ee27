"""`celery-statsd demo`, as far as the command line goes; the rest is in `tests/demo`."""

from tests.cli.program import run


def test_a_demo_shorter_than_it_can_be_is_refused() -> None:
    """With the least it takes."""
    found = run("demo", "--seconds", "1")

    assert (2, "") == (found.returncode, found.stdout)
    assert "'--seconds'" in found.stderr
    assert "x>=2.0" in found.stderr
