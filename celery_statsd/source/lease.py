"""Who speaks, of several agents that hear the same Redis: a lease, and marks in the stream.

Redis gives every subscriber the same messages in the same order. So the speaker publishes its marks
on a channel of the chorus, and all agents find each mark at the same place among the events. What
is asked of Redis is asked in scripts, so that nobody sets a mark whose lease has run out: the fence
is Redis itself.

| key or channel                          | what                                                |
| --------------------------------------- | --------------------------------------------------- |
| `celery-statsd/<db>/<exchange>/<group>` | `["mark", cut, stamp]`; the last word as below      |
| the same and `/lease`                   | the speaker's identity, for LEASE seconds           |
| the same and `/cut`                     | the last mark                                       |
| the same and `/said`                    | `["said", cut, lacking, accounts]`, the last        |
| the same and `/warm`                    | who has heard all that is not said yet, and until   |
|                                         | when that holds (Redis's clock, ms): a sorted set   |

An agent that has not heard all that is not said yet leaves the lease to those who have, while there
are any. A Redis that refuses all this (its rights, a proxy) is told once; then the agent speaks as
if alone.
"""

import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from redis.exceptions import RedisError, ResponseError

from celery_statsd.accounts import Account
from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.source.base import Joined, Mark, Said
from celery_statsd.trouble import Trouble

LEASE = 3.0
"""Seconds a speaker may be silent before another one may take its place."""

RENEW_EVERY = 0.5
"""Seconds between two looks at the lease, to renew or to take it."""

MARKS = 60
"""Marks an agent remembers that has not heard all."""

LEAVE_WITHIN = 1.0
"""Seconds a leaving agent waits for its last words to reach Redis."""

_LOOK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('ZREM', KEYS[4], ARGV[1])
return {redis.call('GET', KEYS[2]) or '', redis.call('GET', KEYS[3]) or ''}
"""
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
redis.call('ZREM', KEYS[4], ARGV[1])
local others = redis.call('ZCARD', KEYS[4])
local holder = redis.call('GET', KEYS[1])
local takes = holder == ARGV[1] or (not holder and (ARGV[3] == 'warm' or others == 0))
if takes then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
if ARGV[3] == 'warm' or (takes and ARGV[3] == 'cold') then
  redis.call('ZADD', KEYS[4], now + ARGV[2], ARGV[1])
end
return {takes and 1 or 0, others}
"""
_MARK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[4])
"""
_SAY = """
redis.call('SET', KEYS[3], ARGV[2])
return redis.call('PUBLISH', ARGV[1], ARGV[2])
"""
_LEAVE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return redis.call('ZREM', KEYS[4], ARGV[1])
"""

_GONE = (RedisError, OSError, ValueError)
_NEVER = ("permission", "executing the script", "unknown command", "non deterministic")
# What a refusal says that will not change by itself.


class _Mark(msgspec.Struct, frozen=True, array_like=True, tag="mark"):
    cut: str
    stamp: float


class _Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    cut: str
    lacking: tuple[str, ...] = ()
    accounts: dict[str, Account] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Mark | _Said).decode


class Lease:
    """One agent's part in the chorus called `name`, on a redis-py `connection` of its own.

    All that has to wait for Redis waits in a thread of its own; only `open` does not. Of a refusal
    that is `known` from the connection before nothing is said.
    """

    def __init__(
        self, name: str, identity: str, connection: Any, log: Log, known: bool = False
    ) -> None:
        self.channel = name
        self.wire_channel = name.encode()
        self.refused = False
        self._keys = tuple(f"{name}/{key}" for key in ("lease", "cut", "said", "warm"))
        self._identity = identity
        self._connection = connection
        self._log = log
        self._known = known
        self._trouble = Trouble(log, "lease_out_of_reach", "lease_in_reach")
        self._wishes: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._held_until = 0.0
        self._knows = "cold"
        self._marks: deque[str] = deque(maxlen=MARKS)
        self._others = 0
        self._over = False

    @property
    def held(self) -> bool:
        """Whether this agent speaks, as far as its own clock can tell."""
        return time.monotonic() < self._held_until

    @property
    def alone(self) -> bool:
        """Whether nobody else has heard all that is not said, as far as this agent knows."""
        return self._others == 0

    def open(self) -> Joined:
        """Join: what was the last mark? Raises what redis-py raises; a refusal sets `refused`."""
        try:
            cut, said = (part.decode() for part in self._ask(_LOOK, self._identity))
        except ResponseError as error:
            if not _is_final(error):
                raise
            self.refuse(error)
            return Joined("", False)
        self._thread.start()
        return Joined(cut, self._is_mine(cut), _said_in(said))

    def mark(self, stamp: float, last: bool = False) -> None:
        """Set a mark for a flush of that time, if this agent holds the lease then; for the `last`
        one it tries to take it."""
        if last:
            self._wishes.put(self._renew)
        self._wishes.put(partial(self._mark, stamp))

    def say(self, said: Said) -> None:
        """Let the others know which flush is delivered, and which sinks do not have it yet."""
        self._wishes.put(partial(self._say, said))

    def retire(self) -> None:
        """Nobody is to count on this agent any more; `alone` is up to date when it is done."""
        asked = threading.Event()
        self._knows = "retired"
        self._wishes.put(self._renew)
        self._wishes.put(asked.set)
        asked.wait(LEAVE_WITHIN if self._thread.is_alive() else 0.0)

    def hear(self, wire: bytes) -> Mark | Said:
        """What came on the channel. Raises MsgspecError for what is no word of a chorus."""
        word = _decode(wire)
        if isinstance(word, _Said):
            if word.cut in self._marks and not word.lacking and self._knows == "cold":
                self._knows = "warm"
            return _said(word)
        if self._knows == "cold":
            self._marks.append(word.cut)
        return Mark(word.cut, word.stamp, self._is_mine(word.cut) and self.held)

    def leave(self) -> None:
        """Say what is still to be said, and give the lease back."""
        self._wishes.put(self._give_back)
        self._wishes.put(None)
        if self._thread.is_alive():
            self._thread.join(LEAVE_WITHIN)
        self.drop()

    def drop(self) -> None:
        """Let go of Redis at once."""
        self._held_until = 0.0
        self._over = True
        self._wishes.put(None)
        if self._thread.ident is None:  # it never began
            self._connection.disconnect()
        # The thread may be reading: its socket is ended under it, the rest it clears away itself.
        sock = self._connection._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _keep(self) -> None:
        """Renew the lease, or try to take it, and grant wishes; until told to end."""
        granted = True
        while granted and not self.refused:
            self._try(self._renew)
            granted = self._grant_until(time.monotonic() + RENEW_EVERY)
        self._connection.disconnect()

    def _grant_until(self, deadline: float) -> bool:
        """Grant wishes until `deadline` (monotonic seconds); False: no more will come."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                wish = self._wishes.get(timeout=left)
            except queue.Empty:
                break
            if wish is None:
                return False
            self._try(wish)
        return True

    def _try(self, wish: Callable[[], None]) -> None:
        try:
            wish()
        except ResponseError as error:
            if _is_final(error):
                self.refuse(error)
            else:
                self._fail(error)
        except _GONE as error:
            self._fail(error)
        except AttributeError:  # redis-py's, whose connection `drop` has taken away under it
            if not self._over:
                raise
        else:
            self._trouble.over(time.monotonic())

    def _fail(self, error: Exception) -> None:
        """The source notices for itself that Redis is away; the connection is opened anew."""
        self._connection.disconnect()
        self._trouble.tell(time.monotonic(), BrokerLost(str(error)))

    def refuse(self, error: Exception) -> None:
        """There can be no chorus here: tell it."""
        self.refused = True
        if self._known:
            return
        self._known = True
        cure = "grant what config/redis names, or run one agent: two would count twice"
        self._log.warning("lease_refused", error=str(error), cure=cure)

    def _renew(self) -> None:
        asked = time.monotonic()
        took, self._others = self._ask(_TAKE, self._identity, int(LEASE * 1000), self._knows)
        if took and not self.held:
            self._log.info("lease_taken", chorus=self.channel, identity=self._identity)
        self._held_until = asked + LEASE if took else 0.0

    def _mark(self, stamp: float) -> None:
        cut = f"{self._identity}:{time.time_ns()}"
        wire = _encode(_Mark(cut, stamp))
        self._ask(_MARK, self._identity, cut, self.channel, wire)

    def _say(self, said: Said) -> None:
        self._ask(_SAY, self.channel, _encode(_Said(said.cut, said.lacking, dict(said.accounts))))

    def _give_back(self) -> None:
        self._ask(_LEAVE, self._identity)

    def _ask(self, script: str, *arguments: Any) -> Any:
        self._connection.send_command(
            "EVAL", script, len(self._keys), *self._keys, *arguments, check_health=False
        )
        return self._connection.read_response()

    def _is_mine(self, cut: str) -> bool:
        return cut.rpartition(":")[0] == self._identity


def _is_final(error: ResponseError) -> bool:
    return any(word in str(error) for word in _NEVER)


def _said_in(wire: str) -> Said | None:
    """What stands in the key `said`."""
    try:
        word = _decode(wire)
    except msgspec.MsgspecError:
        return None
    return _said(word) if isinstance(word, _Said) else None


def _said(word: _Said) -> Said:
    return Said(word.cut, word.lacking, word.accounts)
