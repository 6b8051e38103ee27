"""`celery-statsd completion`."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "fish", "zsh")
"""Those click has a completion for."""

VARIABLE = "_CELERY_STATSD_COMPLETE"
"""By which a shell asks this program how a line may go on."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """What makes your shell complete commands and options of this program.

    For bash: celery-statsd completion bash > /etc/bash_completion.d/celery-statsd
    """
    found = get_completion_class(shell)
    assert found, shell
    root = context.find_root()
    click.echo(found(root.command, {}, root.info_name or "", VARIABLE).source())
