"""`celery-statsd systemd install`; that it works on a host is shown in tests/systemd."""

from tests.cli.program import run


def test_its_help_says_what_it_does() -> None:
    """Where it writes, and that it may be run again."""
    found = run("systemd", "install", "--help")
    assert (0, "") == (found.returncode, found.stderr)
    for word in ("/etc/systemd/system", "/etc/celery-statsd", "run it again after each upgrade"):
        assert word in " ".join(found.stdout.split())


def test_a_wrong_name_is_told_with_exit_code_2() -> None:
    """Or a program where no service can see it, whichever is found first; nothing is written."""
    found = run("systemd", "install", "--instance", "a/b", "--root", "/nowhere")
    assert (2, "") == (found.returncode, found.stdout)
    assert found.stderr.startswith(("celery-statsd: instance: ", "celery-statsd: systemd: "))
