"""`celery-statsd metrics`."""

import click

from celery_statsd.cli.settings import part


@click.command()
@click.option("--json", "form", flag_value="json", help="As JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="As the README has it.")
def metrics(form: str | None) -> None:
    """The catalogue: every metric there is, and what it means."""
    catalogue = part("catalogue")
    makers = {
        "json": catalogue.as_json,
        "markdown": catalogue.as_markdown,
        None: catalogue.as_table,
    }
    click.echo(makers[form]())
