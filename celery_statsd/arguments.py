"""The command line as others see it: what is secret moves from the arguments to the environment.

A process list shows every argument to everybody, but the environment to the same user only, and
no portable call overwrites an argument. So a process that was given a password starts itself
again, under the same process id:

    clean = without_secrets(sys.argv[1:], os.environ)
    if clean:
        arguments, environment = clean
        head = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
        os.execve(sys.executable, [sys.executable, *head, *arguments], environment)
"""

from collections.abc import Mapping, Sequence

from celery_statsd.keys import KEYS
from celery_statsd.log import redact

_BY_NAME = {key.name: key for key in KEYS}
_SECRET = {key.name for key in KEYS if key.secret}
# A secret key's rival moves with it, so that both still stand in one layer.
_MOVABLE = {flag: key for key in KEYS if key.secret or key.rival in _SECRET for flag in key.flags}


def without_secrets(
    argv: Sequence[str], environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]] | None:
    """The arguments and the environment to start again with, or None when nothing is secret.

    `argv` is `sys.argv[1:]`: a process list shows it to everybody, the environment to the same
    user only. When a secret key's flag holds a password, those flags become variables; what a
    flag would have beaten is taken out, so the new process reads the same settings.
    """
    kept, moved = _parted(argv)
    texts = {name: "\n".join(values) for name, values in moved.items()}
    if all(redact(text) == text for text in texts.values()):
        return None
    beaten = {
        rival.variable for name in texts if (rival := _BY_NAME.get(_BY_NAME[name].rival or ""))
    }
    left = {variable: text for variable, text in environ.items() if variable not in beaten}
    return kept, left | {_BY_NAME[name].variable: text for name, text in texts.items()}


def _parted(argv: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The arguments that may be seen, and the values of the flags that move, by key name."""
    kept: list[str] = []
    moved: dict[str, list[str]] = {}
    rest = iter(argv)
    for argument in rest:
        flag, value = _split(argument)
        key = _MOVABLE.get(flag)
        if key is None:
            kept.append(argument)
            continue
        value = next(rest, None) if value is None else value
        if value is None:
            kept.append(argument)  # the command line's parser tells what is missing
        else:
            earlier = moved.get(key.name, []) if key.repeatable else []
            moved[key.name] = [*earlier, value]
    return kept, moved


def _split(argument: str) -> tuple[str, str | None]:
    """A flag and the value written into it: `--flag=value`, `-fvalue`."""
    if argument.startswith("--"):
        flag, equals, value = argument.partition("=")
        return flag, value if equals else None
    return argument[:2], argument[2:] or None
