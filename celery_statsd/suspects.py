"""Which of the usual tasks the tracker might have something to conclude of: see `endings` and
`queues` for what.

They are looked for at each tick, among all that wait and run. So a worker is looked at closely
only when there is a reason, and what is usual is told by a look at the newest tasks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf

from celery_statsd.endings import denied
from celery_statsd.lanes import Lane
from celery_statsd.life import Life
from celery_statsd.passage import Waiting

Open = Mapping[str, Waiting]
"""The newest attempt of each usual task that waits or runs, the oldest task first."""

Starts = Callable[[Life], list[float]]
"""When those began that a life runs as unusual ones, by its own clock."""


def doubted(tasks: Open, lives: Iterable[Life], starts: Starts, patience: float) -> list[str]:
    """The tasks held by some of `lives` that might have ended without a word; a life may deny a
    task for `patience` seconds."""
    suspects, crowded = set(), {}
    for life in lives:
        if life.gone_at is not None or _is_idle(life, patience):
            suspects.add(life)
        else:
            excess = _excess(life, starts)
            if excess > 0:
                crowded[life] = excess
    suspects |= _still_crowded(tasks, crowded)
    if not suspects:
        return []
    held = _held(tasks, suspects)
    return [uuid for life in suspects for uuid in _judged(life, held[life], starts, patience)]


def overtaken(tasks: Open, lanes: Mapping[Lane, float]) -> list[str]:
    """The tasks that wait in one of `lanes` and were sent before its time; each lane knows from
    then on the oldest of the rest."""
    left, oldest = [], dict.fromkeys(lanes, inf)
    for uuid, passage in tasks.items():
        lane, sent = passage.lane, passage.sent or 0.0
        if passage.life is None and lane in lanes:
            if sent < lanes[lane]:
                left.append(uuid)
            elif sent < oldest[lane]:
                oldest[lane] = sent
    for lane, sent in oldest.items():
        lane.oldest = sent
    return left


def _is_idle(life: Life, patience: float) -> bool:
    """Whether it says that it runs nothing, for long, though it holds something."""
    if life.idle_stamp is None or not life.reserved:
        return False
    return life.beat_stamp - life.idle_stamp >= patience


def _excess(life: Life, starts: Starts) -> int:
    """How many more than it said run, but for those unusual ones that began after it said so."""
    proven, active = life.proven_stamp, life.proven_active
    if proven is None or active is None or life.running <= active:
        return 0
    return life.running - active - sum(start > proven for start in starts(life))


def _still_crowded(tasks: Open, crowded: dict[Life, int]) -> set[Life]:
    """Those of `crowded` of which not so many began after what they said."""
    if crowded:
        for passage in reversed(tasks.values()):  # type: ignore[call-overload]
            life, started = passage.life, passage.started
            if life in crowded and started is not None and started > life.proven_stamp:
                crowded[life] -= 1
                if crowded[life] <= 0:
                    del crowded[life]
                    if not crowded:
                        break
    return set(crowded)


def _held(tasks: Open, suspects: set[Life]) -> dict[Life, list[tuple[str, Waiting]]]:
    """What each of `suspects` has received and not ended."""
    held: dict[Life | None, list[tuple[str, Waiting]]] = {life: [] for life in suspects}
    for uuid, newest in tasks.items():
        earlier = newest.earlier
        if newest.life in held:
            held[newest.life].append((uuid, newest))
        if earlier is not None and earlier.outcome is None and earlier.life in held:
            held[earlier.life].append((uuid, earlier))
    return {life: found for life, found in held.items() if life is not None}


def _judged(
    life: Life, held: list[tuple[str, Waiting]], starts: Starts, patience: float
) -> Iterator[str]:
    """Those of `held` of which `endings` might have something to say."""
    if life.gone_at is not None:
        yield from (uuid for uuid, _ in held)
        return
    for uuid, one in held:
        if one.started is None and denied(life, one, patience):
            yield uuid
    proven, active = life.proven_stamp, life.proven_active
    if proven is None or active is None:
        return
    before = [(one.started, uuid) for uuid, one in held if one.started and one.started <= proven]
    began = [start for start in starts(life) if start <= proven] + [start for start, _ in before]
    if len(began) > active and (active == 0 or min(began) <= proven - patience):
        yield from (uuid for _, uuid in before)
