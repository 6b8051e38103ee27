"""`celery-statsd man`."""

from collections.abc import Iterator

import click

from celery_statsd import __version__
from celery_statsd.keys import KEYS

SECTIONS = (
    (
        "ENVIRONMENT",
        "CELERY_STATSD_CONFIG names the configuration file; CELERY_STATSD_<KEY> is the setting of "
        "that name, as in CELERY_STATSD_FLUSH_INTERVAL.",
    ),
    (
        "FILES",
        "/etc/celery-statsd/celery-statsd.yml is read when no other file is named.",
    ),
    (
        "EXIT STATUS",
        "0: done. 1: a fault of ours, or nobody reads the output. 2: a setting or an argument is "
        "wrong. 130: interrupted.",
    ),
)
"""What the commands themselves do not tell."""

SETTINGS = ("config", *(key.name for key in KEYS))
"""The options of every command that has settings: told once, as those of the agent."""


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """The manual page: celery-statsd man > /usr/local/share/man/man1/celery-statsd.1"""
    click.echo("\n".join(_page(context.find_root())))


def _page(root: click.Context) -> Iterator[str]:
    """The lines of the page, as man(7) wants them."""
    name = root.info_name or ""
    yield f'.TH {name.upper()} 1 "" "{name} {__version__}" "User commands"'
    yield from (".SH NAME", f"{_safe(name)} \\- {_safe(root.command.get_short_help_str(200))}")
    yield from (".SH SYNOPSIS", f".B {_safe(name)}", _safe(" ".join(_pieces(root))))
    yield ".SH COMMANDS"
    yield from _commands(root)
    yield from (".SH SETTINGS", "Options of every command that needs them, and their meaning.")
    with _below(root, "agent") as agent:
        yield from _options(agent, settings=True)
    for title, text in SECTIONS:
        yield from (f".SH {title}", _safe(text))


def _commands(context: click.Context) -> Iterator[str]:
    """Each command below that of `context`; of a group its own commands."""
    assert isinstance(context.command, click.Group)
    for name in context.command.list_commands(context):
        with _below(context, name) as inner:
            is_group = isinstance(inner.command, click.Group)
            yield from _commands(inner) if is_group else _command(inner)


def _below(context: click.Context, name: str) -> click.Context:
    assert isinstance(context.command, click.Group)
    command = context.command.get_command(context, name)
    assert command
    return click.Context(command, info_name=name, parent=context)


def _command(context: click.Context) -> Iterator[str]:
    yield f".SS {_safe(' '.join((context.command_path, *_pieces(context))))}"
    for paragraph in (context.command.help or "").split("\n\n"):
        yield from (_safe(" ".join(paragraph.split())), ".PP")
    yield from _options(context, settings=False)


def _options(context: click.Context, settings: bool) -> Iterator[str]:
    """Those that are settings, or those that are not."""
    for parameter in context.command.get_params(context):
        told = parameter.get_help_record(context)
        if told and told[1] and "--help" not in parameter.opts and settings is _is_set(parameter):
            yield from (".TP", f".B {_safe(told[0])}", _safe(told[1]))


def _is_set(parameter: click.Parameter) -> bool:
    return parameter.name in SETTINGS


def _pieces(context: click.Context) -> list[str]:
    return context.command.collect_usage_pieces(context)


def _safe(text: str) -> str:
    """`text` as it is: no word of it is a request of the formatter."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
