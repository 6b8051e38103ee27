"""Names that change with each roll-out become one that stays."""

import pytest

from celery_statsd.folding import SHAPES, folder


@pytest.mark.parametrize(
    ("template", "name", "folded"),
    [
        (None, "celery@web-6d5f7c9b8-x7k2p", "celery@web-6d5f7c9b8-x7k2p"),
        ("deployment", "celery@web-6d5f7c9b8-x7k2p", "celery@web-*"),
        ("deployment", "celery@web-api-6d5f7c9b8-x7k2p", "celery@web-api-*"),
        ("deployment", "celery@web-6d5f7c9b8-x7k2p.web.default", "celery@web-*.web.default"),
        ("deployment", "celery@web-server-alpha", "celery@web-server-alpha"),
        ("deployment", "celery@etl-0", "celery@etl-0"),
        ("statefulset", "celery@etl-0", "celery@etl-*"),
        ("statefulset", "celery@etl-17.etl.default", "celery@etl-*.etl.default"),
        ("statefulset", "celery@etl", "celery@etl"),
        ("pods", "celery@etl-0", "celery@etl-*"),
        ("pods", "celery@web-6d5f7c9b8-x7k2p", "celery@web-*"),
        ("worker([0-9]+)@", "worker17@web1", "worker*@web1"),
        ("([0-9]+)@.*?([0-9]+)", "w17@web1", "w*@web*"),
        ("(x)?@(web)", "w@web", "w@*"),
    ],
)
def test_what_changes_is_folded(template: str | None, name: str, folded: str) -> None:
    """And nothing else."""
    assert folded == folder(template)(name)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("(", "regular expression"),
        ("(x{99999999999})", "regular expression"),
        ("web-.*", "group"),
    ],
)
def test_what_is_no_template_is_refused(template: str, why: str) -> None:
    """A pattern without a group would fold nothing."""
    with pytest.raises(ValueError, match=why):
        folder(template)


def test_each_word_is_a_template() -> None:
    """As the settings name them."""
    assert {"deployment", "statefulset", "pods"} == set(SHAPES)
    for word in SHAPES:
        assert "w@h" == folder(word)("w@h")
