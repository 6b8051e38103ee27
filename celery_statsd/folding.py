"""Names of workers that come and go with each roll-out, folded into one that stays.

Kubernetes makes the names of pods: a Deployment's from the template's hash and a suffix, both in an
alphabet without vowels (k8s.io/apimachinery, util/rand), a StatefulSet's from an ordinal.
"""

import re
from collections.abc import Callable

FOLD = "*"
"""What stands for what was folded."""

_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_DEPLOYMENT = rf"-({_SAFE}{{5,10}}-{_SAFE}{{5}})(?=\.|$)"
_STATEFUL_SET = r"-([0-9]+)(?=\.|$)"

SHAPES = {
    "deployment": _DEPLOYMENT,
    "statefulset": _STATEFUL_SET,
    "pods": f"{_DEPLOYMENT}|{_STATEFUL_SET}",
}
"""Words for templates; pods: either of the two."""


def folder(template: str | None) -> Callable[[str], str]:
    """What folds a worker's name by a template: a word of SHAPES, or a regular expression; what its
    groups have found becomes FOLD. Raises ValueError for one that is none."""
    if template is None:
        return str
    try:
        found = re.compile(SHAPES.get(template, template))
    except (re.error, OverflowError, RecursionError):
        raise ValueError("is no regular expression") from None
    if not found.groups:
        raise ValueError("holds no group, in brackets, around what is to be folded")

    def fold(name: str) -> str:
        match = found.search(name)
        if match is None:
            return name
        spans = [match.span(group) for group in range(1, found.groups + 1) if match[group]]
        for start, end in sorted(spans, reverse=True):
            name = name[:start] + FOLD + name[end:]
        return name

    return fold
