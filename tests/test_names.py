"""The laws of names: safe on every wire, told again where Python made them, never merged."""

import re
import string
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from celery_statsd.metric import Kind, Series
from celery_statsd.names import LONGEST_NODE, WIRE_WORDS, Names, digest, escape
from celery_statsd.rules import FAMILIES, WORDS
from tests.bodies import patiently

NODE = re.compile(r"[A-Za-z0-9_-]+")
NAMES = st.one_of(
    st.text(max_size=40),
    st.text(".-_@ab", max_size=12),
    st.text(min_size=90, max_size=300),
    st.sampled_from(sorted(WORDS | WIRE_WORDS)),
)
DOTTED = st.from_regex(r"[a-z_]{1,9}(\.[A-Za-z_0-9-]{1,9}){0,4}", fullmatch=True)


def names(prefix: str = "celery", app: str = "default", reporter: str = "all") -> Names:
    return Names(prefix, app, reporter, WORDS)


def unescaped(node: str) -> str:
    """The way back for names without `@` and foreign characters."""
    return node.replace("--", "\0").replace("-", ".").replace("\0", "-")


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("shop.pay", "shop-pay"),
        ("my-app.tasks", "my--app-tasks"),
        ("w1@lab.example", "w1_at_lab-example"),
        ("Report: daily/EU", "Report__daily_EU"),
        ("a:b|c#d;e=f", "a_b_c_d_e_f"),
        ("größe\n", "gr__e_"),
        ("", "unknown"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 92 + digest("x" * 101)),
        ("\ud800", "_"),
    ],
)
def test_escape(name, node):
    """Laws 1 and 2, one by one."""
    assert node == escape(name)


@patiently
@given(NAMES)
def test_a_node_is_safe(name):
    """Only characters that no receiver cuts, maps or splits at, and not too many of them."""
    assert NODE.fullmatch(escape(name))
    assert len(escape(name)) <= LONGEST_NODE


@patiently
@given(DOTTED)
def test_a_python_path_can_be_told_again(name):
    """Dots and dashes come back: `-` is a dot, `--` a dash (an odd `.-` beside it aside)."""
    assume(".-" not in name and "-." not in name)
    assert name == unescaped(escape(name))


@patiently
@given(DOTTED, DOTTED)
def test_two_python_paths_are_two_nodes(one, other):
    """Names of modules and functions hold no dash: no two of them share a node."""
    assume("-" not in one + other)
    assert (one == other) == (escape(one) == escape(other))


@patiently
@given(NAMES, NAMES, NAMES, st.sampled_from(FAMILIES), st.sampled_from(sorted(WORDS)))
def test_a_path_has_its_depth_and_no_equal_neighbours(app, entity, reporter, family, metric):
    """`<prefix>.<app>.<family>.<entity>.<metric>.<reporter>`: Bucky makes one of two that are
    equal, so no node equals its neighbour, the words a StatsD puts at either end included."""
    path = names("celery", app, reporter).series(family, entity, metric, Kind.GAUGE).path
    nodes = path.split(".")
    assert 6 == len(nodes)
    assert [] == [node for node in nodes if not NODE.fullmatch(node)]
    ends = [("stats", "gauges"), *pairwise(nodes)]
    assert [] == [pair for pair in ends if pair[0] == pair[1]]
    assert nodes[0] not in WIRE_WORDS
    assert nodes[-1] not in WIRE_WORDS
    assert (family, metric) == (nodes[2], nodes[4])


@patiently
@given(st.lists(NAMES, unique=True, max_size=12), st.sampled_from(FAMILIES))
def test_two_entities_never_share_a_node(entities, family):
    """Whatever they are called, each keeps a node of its own, the same at every call."""
    made = names()
    nodes = [made.entity(family, entity) for entity in entities]
    assert len(entities) == len(set(nodes))
    assert nodes == [made.entity(family, entity) for entity in entities]
    assert [] == [node for node in nodes if len(node) > LONGEST_NODE]
    assert [] == [node for node in nodes if node in WORDS | WIRE_WORDS]


def test_the_second_of_two_gets_a_hash():
    """The first keeps the plain node; the collision is counted."""
    made = names()
    assert "a-b" == made.entity("task", "a.b")
    assert "a_b" == made.entity("task", "a b")
    assert f"a_b_{digest('a/b')}" == made.entity("task", "a/b")
    assert 1 == made.collisions
    assert "a_b" == made.entity("queue", "a/b")
    assert 1 == made.collisions


def test_a_hash_that_is_somebodys_name_is_hashed_again():
    """Even who guesses the hash shares no node."""
    made = names()
    guess = f"a_b_{digest('a/b')}"
    assert guess == made.entity("task", guess)
    made.entity("task", "a_b")
    node = made.entity("task", "a/b")
    assert node not in (guess, "a_b")
    assert node.startswith("a_b_")


def test_a_released_node_is_free():
    """Whoever comes next gets the plain form; what was released twice is no error."""
    made = names()
    made.entity("worker", "a b")
    made.release("worker", "a b")
    made.release("worker", "a b")
    assert "a_b" == made.entity("worker", "a/b")
    assert 0 == made.collisions


@pytest.mark.parametrize("word", ["task", "queue", "failed", "running", "count", "mean", "stats"])
def test_an_entity_called_like_a_word_of_ours_gets_a_mark(word):
    """A queue called `queue` would vanish in Bucky."""
    assert f"celery.default.queue.{word}_.length.all" == (
        names().series("queue", word, "length", Kind.GAUGE).path
    )


def test_the_parts_of_a_prefix():
    """A dotted prefix is so many nodes: equal neighbours are told apart, empty ones left out."""
    made = names("corp.corp..celery", "celery", "web.1")
    assert Series(
        "task", "a.b", "sent", Kind.COUNTER, "corp.corp_.celery.celery_.task.a-b.sent.web-1"
    ) == (made.series("task", "a.b", "sent", Kind.COUNTER))
    assert "x.task.a.sent.all" == names("", "x").series("task", "a", "sent", Kind.COUNTER).path


def test_the_agent_speaks_of_itself():
    """Its own numbers are of one host already: the reporter is `self`."""
    path = names(reporter="web1").series("agent", "web1", "ticks", Kind.COUNTER).path
    assert "celery.default.agent.web1.ticks.self" == path


def test_what_is_kept():
    """Letters, digits and `_` stand for themselves."""
    plain = string.ascii_letters + string.digits + "_"
    assert plain == escape(plain)
