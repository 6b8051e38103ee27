"""Which part of a cluster is counted: whose events, and whose publications."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.scope import CLUSTER, Scope

HOST = Scope("web1", frozenset({"web1", "web1.example.org"}))


def parts(number: int) -> list[Scope]:
    """All parts of a cluster of that many."""
    return [Scope(f"p{k}", partition=k, partitions=number) for k in range(1, number + 1)]


def test_a_cluster_hears_and_owns_everything() -> None:
    """Whatever its name, none included."""
    assert CLUSTER.whole
    assert CLUSTER.hears("celery@web1")
    assert CLUSTER.hears("")
    assert CLUSTER.owns("any")


def test_a_host_hears_its_own() -> None:
    """By any of its names; a node's own name before the @ means nothing."""
    own = ("celery@web1", "w2@web1.example.org", "gen7@web1", "web1")
    others = ("celery@web11", "web1@web2", "celery@example.org", "celery@WEB1", "")
    assert not HOST.whole
    assert [True] * len(own) == [HOST.hears(name) for name in own]
    assert [False] * len(others) == [HOST.hears(name) for name in others]
    assert HOST.owns("any")


def test_a_part_hears_what_it_is_given() -> None:
    """The broker has shared it out already."""
    assert not parts(3)[0].whole
    assert all(part.hears("celery@anywhere") for part in parts(3))


@given(st.integers(2, 20), st.one_of(st.uuids().map(str), st.text()))
def test_each_publication_is_owned_once(number: int, uuid: str) -> None:
    """By one part, whatever an id looks like."""
    assert 1 == sum(part.owns(uuid) for part in parts(number))


def test_publications_are_shared_out_evenly() -> None:
    """A thousand of them among four: none has twice its share."""
    owned = [0] * 4
    for number in range(1000):
        uuid = str(UUID(int=number * 2**64))
        owned[[part.owns(uuid) for part in parts(4)].index(True)] += 1
    assert max(owned) < 500
