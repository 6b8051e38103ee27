"""Alert rules, from the form of a file to the form of the API."""

from pathlib import Path

import pytest

from celery_statsd.dashboards.alerting import for_api, groups, seconds, span
from celery_statsd.errors import ConfigError

FILE = """\
apiVersion: 1
groups:
  - {orgId: 1, name: celery shop, folder: Celery, interval: 60s, rules: [
      {uid: a, title: A, condition: C, for: 0s, noDataState: OK, execErrState: Error, data: []}]}
"""


def test_a_group_is_made_ready(tmp_path: Path) -> None:
    """Each rule learns where it lies; the interval is a number."""
    path = tmp_path / "rules.yaml"
    path.write_text(FILE)
    (group,) = groups(path)
    made = for_api(group, "folder-uid")

    assert ("celery shop", "folder-uid", 60) == (
        made["title"], made["folderUid"], made["interval"],
    )  # fmt: skip
    (rule,) = made["rules"]
    assert ("folder-uid", "celery shop", 1, "A") == (
        rule["folderUID"], rule["ruleGroup"], rule["orgID"], rule["title"],
    )  # fmt: skip


@pytest.mark.parametrize(("text", "number"), [("60s", 60), ("1m", 60), ("1m30s", 90), ("1h", 3600)])
def test_times(text: str, number: int) -> None:
    """As Go writes them."""
    assert number == seconds(text)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0s"), (90, "1m30s"), (120, "2m"), (3660, "1h1m")]
)
def test_times_as_grafana_gives_them_back(number: int, text: str) -> None:
    """The longest units first; what is 0 is left out."""
    assert text == span(number)
    assert number == seconds(text)


@pytest.mark.parametrize("text", ["60", "", "1 m", "1d", "m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With the cure."""
    with pytest.raises(ConfigError, match=r"^rules: interval .* write 60s or 1m"):
        seconds(text)


@pytest.mark.parametrize("text", ["", "a: 1", "[]", "groups: 7", "groups: [7]"])
def test_what_is_no_file_of_rules_is_refused(text: str, tmp_path: Path) -> None:
    """In one sentence that says what makes one."""
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"^rules: .* is no file of alert rules; name a file"):
        list(groups(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Told as such."""
    with pytest.raises(ConfigError, match=r"^rules: .* cannot be read \(No such file"):
        list(groups(tmp_path / "none"))
