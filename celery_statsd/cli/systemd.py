"""`celery-statsd systemd`."""

from pathlib import Path

import click

from celery_statsd.cli.settings import part


@click.group()
def systemd() -> None:
    """This agent as a service of systemd."""


@systemd.command()
@click.option("--instance", metavar="NAME", help="One agent of several: celery-statsd@NAME.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default="/",
    help="Lay it down below this folder, for an image or a package; no systemd is told.",
)
def install(instance: str | None, root: Path) -> None:
    """Lay down unit, settings and credentials, or bring the unit up to date.

    The unit goes to /etc/systemd/system; settings, all commented out, and files for the passwords
    to /etc/celery-statsd. What is there already stays; run it again after each upgrade. Nothing is
    started.
    """
    service = part("systemd")
    for line in service.install(root, service.program(), instance):
        click.echo(line)
    if root == Path("/"):
        click.echo(service.reload_units() or "no systemd runs here: nobody was told")
    unit = f"celery-statsd@{instance}" if instance else "celery-statsd"
    click.echo(f"next: edit {root / service.SETTINGS}, then systemctl enable --now {unit}")
