"""Who speaks, on a real Redis: one at a time, the one who has heard all, and nobody whose lease has
run out."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
import redis

from celery_statsd.accounts import Account
from celery_statsd.log import Log
from celery_statsd.source.base import Broker, Joined, Mark, Message, Said, Turn
from celery_statsd.source.lease import LEASE
from celery_statsd.source.redis import RedisSource
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.source.stream import send, uuids

PATIENCE = 20.0
"""Seconds in which whatever is waited for must have come."""


class Voice:
    """One agent's source, and the turns it heard, each with what came before it."""

    def __init__(self, url: str, identity: str, group: str = "default") -> None:
        self.logged = io.StringIO()
        self.source = RedisSource(
            Broker((url,), chorus=True, group=group), Log("debug", stream=self.logged)
        )
        self.source.identity = identity
        self.turns: list[Turn] = []
        self.heard: list[str] = []
        self.cuts: dict[str, list[str]] = {}
        self.hear()

    def hear(self) -> None:
        """All that is at hand."""
        messages: list[Message] = [*self.source.read(0.01)]
        self.heard += uuids(messages)
        turn = self.source.turn()
        if turn is not None:
            self.turns.append(turn)
        if isinstance(turn, Mark):
            self.cuts[turn.cut], self.heard = self.heard, []

    def last(self, kind: type) -> Any:
        """The last turn of that kind; None for none."""
        return next((turn for turn in reversed(self.turns) if isinstance(turn, kind)), None)

    @property
    def leads(self) -> bool:
        """Whether it holds the lease."""
        lease = self.source._lease
        return lease is not None and lease.held

    def drop(self) -> None:
        """As a death leaves it: nothing is given back."""
        lease, self.source._lease = self.source._lease, None
        assert lease is not None
        lease.drop()
        lease._thread.join(5)
        self.source.close()


Sing = Callable[..., Voice]


@pytest.fixture
def url(redis_server: Redis) -> str:
    """A database of one's own."""
    return redis_server.fresh_url()


@pytest.fixture
def sing(url: str) -> Iterator[Sing]:
    """Makes voices at one Redis, and ends them."""
    with ExitStack() as stack:

        def begin(identity: str, group: str = "default") -> Voice:
            voice = Voice(url, identity, group)
            stack.callback(voice.source.close)
            return voice

        yield begin


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    """redis-py's own."""
    with redis.Redis.from_url(url) as found:
        yield found


def until(condition: Callable[[], object], what: str, *voices: Voice) -> None:
    """Let the voices hear until `condition` holds."""

    def look() -> object:
        for voice in voices:
            voice.hear()
        return condition()

    wait_until(look, PATIENCE, what)


def marked(speaker: Voice, *others: Voice, stamp: float = 10.0) -> Mark:
    """The mark that `speaker` sets, once all have heard it."""
    before = speaker.last(Mark)
    speaker.source.mark(stamp)
    voices = (speaker, *others)
    until(
        lambda: (
            speaker.last(Mark) != before
            and all(
                voice.last(Mark).cut == speaker.last(Mark).cut
                for voice in voices
                if voice.last(Mark)
            )
            and all(voice.last(Mark) for voice in voices)
        ),
        "all have heard the mark",
        *voices,
    )
    mark = speaker.last(Mark)
    assert isinstance(mark, Mark)
    return mark


def leading(*voices: Voice) -> Voice:
    """The one that speaks, once there is one."""
    until(lambda: any(voice.leads for voice in voices), "somebody speaks", *voices)
    (leader,) = [voice for voice in voices if voice.leads]
    return leader


def warmed(*voices: Voice) -> None:
    """A flush is marked and said: from then on all have heard all that is not said."""
    leader = leading(*voices)
    others = [voice for voice in voices if voice is not leader]
    cut = marked(leader, *others).cut
    leader.source.say(Said(cut))
    until(lambda: all(voice.last(Said) for voice in voices), "all have heard it", *voices)


def is_warm(client: Any, identity: str) -> bool:
    """Whether Redis counts on that agent."""
    (key,) = client.keys("*/warm") or [b""]
    return bool(key) and client.zscore(key, identity) is not None


def test_one_alone_speaks_at_once(sing: Sing) -> None:
    """It joins, takes the lease, and hears its own mark."""
    voice = sing("a")
    assert Joined("", False) == voice.turns[0]
    leading(voice)
    mark = marked(voice, stamp=1234.5)

    assert (1234.5, True) == (mark.stamp, mark.mine)
    assert voice.source.alone
    assert "lease_taken" in voice.logged.getvalue()


def test_all_find_a_mark_at_the_same_place(sing: Sing, url: str) -> None:
    """Among the events; it is the speaker's for one of them only."""
    one, other = sing("a"), sing("b")
    leader = leading(one, other)
    follower = other if leader is one else one
    send(url, ["1", "2"])
    first = marked(leader, follower)
    send(url, ["3"])
    second = marked(leader, follower)

    assert leader.cuts == follower.cuts == {first.cut: ["1", "2"], second.cut: ["3"]}
    assert (second.cut, False) == (follower.last(Mark).cut, follower.last(Mark).mine)


def test_who_does_not_speak_sets_no_mark(sing: Sing) -> None:
    """The fence is Redis itself."""
    one, other = sing("a"), sing("b")
    leader = leading(one, other)
    follower = other if leader is one else one
    follower.source.mark(1.0)
    mark = marked(leader, follower, stamp=2.0)

    assert [mark.cut] == list(follower.cuts)
    assert 2.0 == mark.stamp


def test_what_is_said_is_heard_and_kept(sing: Sing) -> None:
    """By the others, and by those who come later; with the sinks that lack it, and how much of
    each worker it accounts for."""
    one, other = sing("a"), sing("b")
    leader = leading(one, other)
    follower = other if leader is one else one
    cut = marked(leader, follower).cut
    said = Said(cut, ("graphite://b",), {"w1@a": Account(7, 20, 3.5, 21)})
    leader.source.say(said)
    until(lambda: follower.last(Said), "it is heard", follower)
    late = sing("c")

    assert said == follower.last(Said)
    assert Joined(cut, False, said) == late.turns[0]


def test_a_warm_one_takes_over(sing: Sing) -> None:
    """Once the lease of the dead has run out; a cold one leaves it that."""
    leader = sing("a")
    leading(leader)
    follower = sing("b")
    warmed(leader, follower)
    cold = sing("c")
    until(lambda: cold.source._lease._knows == "cold", "it has joined", leader, follower, cold)  # type: ignore[union-attr]
    leader.drop()

    assert follower is leading(follower, cold)
    assert not cold.source.alone


def test_a_cold_one_speaks_when_there_is_nobody_else(sing: Sing) -> None:
    """The keys of the dead run out."""
    leader = sing("a")
    leading(leader)
    warmed(leader)
    leader.drop()
    cold = sing("b")
    assert not cold.leads
    assert cold is leading(cold)
    assert cold.source.alone


def test_one_that_is_back_does_not_speak_before_it_has_heard(sing: Sing, client: Any) -> None:
    """Its own lease is void, though it has not run out: others have heard more."""
    leader = sing("a")
    leading(leader)
    follower = sing("b")
    warmed(leader, follower)
    until(lambda: is_warm(client, "b"), "Redis counts on it", leader, follower)
    leader.drop()
    again = sing("a")
    assert not is_warm(client, "a")
    assert follower is leading(follower, again)


def test_the_last_mark_is_known_to_who_set_it(sing: Sing) -> None:
    """Another process with the same journal is the same agent."""
    voice = sing("a")
    leading(voice)
    cut = marked(voice).cut
    voice.drop()
    again, other = sing("a"), sing("b")

    assert Joined(cut, True) == again.turns[0]
    assert Joined(cut, False) == other.turns[0]


def test_who_retires_learns_who_stays(sing: Sing, client: Any) -> None:
    """At once; of two that leave together the second is alone, whoever spoke."""
    one, other = sing("a"), sing("b")
    warmed(one, other)
    until(lambda: is_warm(client, "a") and is_warm(client, "b"), "both are counted on", one, other)
    one.source.retire()
    assert not one.source.alone
    other.source.retire()
    assert other.source.alone


def test_who_leaves_makes_room_at_once(sing: Sing) -> None:
    """The lease is given back: nobody waits until it has run out."""
    one, other = sing("a"), sing("b")
    warmed(one, other)
    leader = leading(one, other)
    follower = other if leader is one else one
    began = time.monotonic()
    leader.source.close()
    assert follower is leading(follower)
    assert time.monotonic() - began < LEASE


def test_who_is_last_sets_a_mark_to_leave(sing: Sing) -> None:
    """Even if it did not speak so far: its speaker is dead, or has left."""
    one, other = sing("a"), sing("b")
    warmed(one, other)
    leader = leading(one, other)
    follower = other if leader is one else one
    leader.source.close()
    follower.source.retire()
    follower.source.mark(99.0, last=True)
    until(lambda: follower.last(Mark).stamp == 99.0, "it hears its last mark", follower)
    assert follower.last(Mark).mine


def test_groups_are_apart(sing: Sing) -> None:
    """Each has a speaker of its own."""
    one, other = sing("a", "shop"), sing("b", "other shop")
    until(lambda: one.leads and other.leads, "both speak", one, other)
    marked(one)
    other.hear()
    assert None is other.last(Mark)


def test_what_is_no_word_of_a_chorus_is_a_bad_message(sing: Sing, client: Any) -> None:
    """Whatever somebody publishes there: it ends nothing."""
    voice = sing("a")
    channel = voice.source._lease.channel  # type: ignore[union-attr]
    bad: list[Message] = []
    wires = [b"", b"[]", b'["mark"]', b'["mark", 1, "x"]', b"\xff", b"[" * 100_000, b'["kill"]']
    for wire in wires:
        client.publish(channel, wire)
    wait_until(lambda: bad.extend(voice.source.read(0.1)) or len(bad) >= len(wires), PATIENCE, "")

    assert {"application/x-bad-envelope"} == {message.facts.content_type for message in bad}
    assert wires == [message.body for message in bad]
    assert leading(voice) is voice


def test_a_mark_of_a_stranger_is_not_ours(sing: Sing, client: Any) -> None:
    """Whoever may publish there may cut flushes; no more."""
    voice = sing("a")
    channel = voice.source._lease.channel  # type: ignore[union-attr]
    client.publish(channel, msgspec.json.encode(["mark", "stranger:1", 5.0]))
    until(lambda: voice.last(Mark), "it is heard", voice)
    assert Mark("stranger:1", 5.0, False) == voice.last(Mark)


def test_a_key_of_another_kind_is_told(sing: Sing, client: Any) -> None:
    """Somebody uses our name: the agent goes on hearing, and says that it cannot speak."""
    voice = sing("a")
    key = leading(voice).source._lease._keys[0]  # type: ignore[union-attr]
    with client.pipeline() as pipe:  # at once: the lease is looked at all the time
        pipe.delete(key)
        pipe.lpush(key, "z")
        pipe.execute()
    until(lambda: "lease_out_of_reach" in voice.logged.getvalue(), "it is told", voice)
    client.delete(key)
    until(lambda: "lease_in_reach" in voice.logged.getvalue(), "it is over", voice)
    assert leading(voice) is voice
