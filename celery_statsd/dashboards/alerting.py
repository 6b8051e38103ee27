"""Alert rules as a provisioning file has them, made ready for Grafana's HTTP API.

The two forms differ: https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from celery_statsd.document import parsed, plain
from celery_statsd.errors import ConfigError

KEY = "rules"

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def groups(path: Path) -> Iterator[Mapping[str, Any]]:
    """The groups of a file of `provisioning/alerting`. Raises ConfigError."""
    cure = "name a file that `celery-statsd alerts grafana` wrote"
    node = parsed(KEY, str(path))
    try:
        found = plain(node) if node else {}
        yield from (dict(group) for group in found["groups"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(KEY, f"{path} is no file of alert rules", cure) from None


def for_api(group: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """A group as the API takes it, to lie in the folder of that uid. Raises ConfigError."""
    name = group["name"]
    place = {"folderUID": folder, "ruleGroup": name, "orgID": group.get("orgId", 1)}
    return {
        "title": name,
        "folderUid": folder,
        "interval": seconds(group["interval"]),
        "rules": [{**rule, "for": span(seconds(rule["for"])), **place} for rule in group["rules"]],
    }


def span(number: int) -> str:
    """Seconds as Grafana writes them when it is asked: 90 is `1m30s`."""
    text = ""
    for unit, worth in sorted(_SECONDS.items(), key=lambda row: -row[1]):
        whole, number = divmod(number, worth)
        text += f"{whole}{unit}" if whole else ""
    return text or "0s"


def seconds(interval: str) -> int:
    """`1m30s` is 90. Raises ConfigError."""
    parts = re.findall(r"(\d+)([smh])", str(interval))
    if not parts or "".join(map("".join, parts)) != interval:
        raise ConfigError(KEY, f"interval {interval!r} is no time", "write 60s or 1m")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)
