"""What the events themselves prove: who beats, who sends events of tasks, what is missing.

Each examination takes the facts and gives findings; none has a clock or a socket. What it cannot
judge for want of facts it passes over in silence: that they are wanting is told once elsewhere.
"""

from collections.abc import Iterator

from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding, critical, listed, ok, unknown, warning
from celery_statsd.check.heard import SILENT, Flow, Heard, Voice
from celery_statsd.life import FREQ
from celery_statsd.roster import BATCHING

SLOW = 10.0
"""Seconds: with a heartbeat less often than this a death is noticed late."""

MOST_UNSENT = 0.1
"""The part of the receipts whose publications may be missing: those from before we listened."""

_NO_EXCHANGE = (
    "compare broker, event_exchange and transport_options with the workers' (celery -A proj report)"
)
_WITH_HEART = (
    "drop --without-heartbeat, or leave --heartbeat-interval at 2: else nobody sees it die, nor "
    "what is lost of it"
)
_START_WITH_E = "start it with -E, or set worker_send_task_events = True"


def coming(facts: Facts) -> Iterator[Finding]:
    """Whether anything is heard at all, and whether it can be read."""
    heard = facts.heard
    if heard is None:
        return
    if not heard.messages:
        some = f", though {len(facts.answers)} workers answer" if facts.answers else ""
        said = f"no event in {heard.seconds:.0f} s{some}"
        yield critical("events", "", said, f"start a worker, or {_NO_EXCHANGE}")
        return
    if heard.reconnects:
        said = f"the connection was lost {heard.reconnects} times in {heard.seconds:.0f} s"
        yield warning("events", "", said, "see the broker's log; what is said here has gaps")
    bad = sum(heard.bad.values())
    if bad:
        said = f"{bad} events cannot be read ({listed(heard.bad)})"
        yield warning("events", "", said, "see who sends them: celery-statsd events --json")
    yield ok("events", "", f"{heard.messages} messages in {heard.seconds:.0f} s")


def heartbeats(facts: Facts) -> Iterator[Finding]:
    """Who beats, how often, who stopped, and who began anew."""
    heard, answers = facts.heard, facts.answers
    if heard is None:
        return
    steady: list[str] = []
    for voice in heard.voices.values():
        found = _beating(voice, heard, None if answers is None else voice.name in answers)
        yield from [found] if found else ()
        if found is None:
            steady.append(voice.name)
        if voice.lives > 1:
            said = f"began anew {voice.lives - 1} times in {heard.seconds:.0f} s"
            yield warning("restarts", voice.name, said, "see its log for why it ends")
    if heard.messages:
        for name in sorted((answers or {}).keys() - heard.voices.keys()):
            said = f"answers, but no heartbeat in {heard.seconds:.0f} s"
            yield warning("heartbeat", name, said, _WITH_HEART)
    if steady:
        yield ok("heartbeat", "", f"{len(steady)} beat: {listed(steady)}")


def _beating(voice: Voice, heard: Heard, answered: bool | None) -> Finding | None:
    """What is to be said of a worker's heart; None when nothing is wrong with it. `answered`: None
    when nobody was asked."""
    if voice.left:
        return ok("heartbeat", voice.name, "said goodbye while we listened")
    if not voice.beats:
        return _heartless(voice, heard.seconds)
    silence = heard.silence(voice)
    if silence:
        return _stopped(voice, silence, answered)
    if voice.freq and voice.freq > SLOW:
        said = f"beats every {voice.freq:g} s only"
        return warning("heartbeat", voice.name, said, "leave --heartbeat-interval at 2")
    return None


def _heartless(voice: Voice, seconds: float) -> Finding:
    if seconds < SILENT * FREQ + BATCHING:
        return unknown("heartbeat", voice.name, "no heartbeat yet", "listen longer: --seconds")
    said = f"sends events, but no heartbeat in {seconds:.0f} s"
    return warning("heartbeat", voice.name, said, _WITH_HEART)


def _stopped(voice: Voice, silence: float, answered: bool | None) -> Finding:
    if answered:
        said = f"no heartbeat for {silence:.0f} s, but it answers"
        return warning("heartbeat", voice.name, said, "see what keeps its main process busy")
    said = f"no heartbeat for {silence:.0f} s, no farewell"
    said += ", and no answer" if answered is False else ""
    cure = "it was killed, is paused or cut off (or a solo worker at work): look at its host"
    return critical("heartbeat", voice.name, said, cure)


def silent(facts: Facts) -> Iterator[Finding]:
    """Workers the broker keeps a place for, of whom nothing else is seen. On RabbitMQ the place
    goes with the process; on Redis it stays after one that was killed, for ever."""
    if facts.heard is None or facts.answers is None:
        return
    names = sorted(facts.pidboxes - facts.answers.keys() - facts.heard.voices.keys())
    if facts.rabbit:
        for name in names:
            said = "is connected to the broker, but neither beats nor answers"
            cure = "it is paused, stuck or cut off (or a solo worker at work): look at its host"
            yield critical("heartbeat", name, said, cure)
    elif names:
        said = f"{len(names)} were here once, and neither beat nor answer: {listed(names)}"
        cure = "if one of them should be there: it was killed, is paused or cut off"
        yield warning("heartbeat", "", said, cure)


def task_events(facts: Facts) -> Iterator[Finding]:
    """Who sends events of tasks: proven by them, by what a worker answers, or by what it ran."""
    on, hidden = [], []
    for name in sorted(facts.answers_and_voices):
        voice = facts.heard.voices.get(name) if facts.heard else None
        words = facts.switched.get(name, "")
        if (voice and voice.tasks) or "already" in words or _is_configured(facts, name):
            on.append(name)
        elif words:
            yield _switched(name, words)
        elif voice and voice.ran:
            said = f"ran {voice.ran} tasks without an event: it has no -E"
            yield critical("task_events", name, said, f"{_START_WITH_E}; now: --enable-events")
        elif voice is None or not voice.left:
            hidden.append(name)
    if hidden:
        said = f"{listed(hidden)}: idle, so nobody can see whether -E is on"
        cure = "run this while they work, or with --enable-events, which switches it on and tells"
        yield unknown("task_events", "", said, cure)
    if on:
        yield ok("task_events", "", f"{len(on)} send them: {listed(on)}")


def _is_configured(facts: Facts, name: str) -> bool:
    """Whether its setting says so; that it is off says nothing, for -E does not touch it."""
    return bool(facts.confs.get(name, {}).get("worker_send_task_events"))


def _switched(name: str, words: str) -> Finding:
    if "enabled" in words:
        said = "sent none, and does from now on, until it ends"
        return warning("task_events", name, said, _START_WITH_E)
    return critical("task_events", name, f"cannot be switched on ({words})", _START_WITH_E)


def lost(facts: Facts) -> Iterator[Finding]:
    """Starts that workers counted and nobody heard, of those who do send events."""
    voices = facts.heard.voices.values() if facts.heard else ()
    for voice in voices:
        if voice.lost and voice.tasks:
            said = f"{voice.lost} starts that its heartbeats count were not heard"
            cure = (
                "tasks with send_events=False are silent by design; else see `versions`, and the "
                "limits of the broker"
            )
            yield warning("events_lost", voice.name, said, cure)
    if any(voice.ran and voice.tasks and not voice.lost for voice in voices):
        yield ok("events_lost", "", "each start that heartbeats count was heard")


def sent_events(facts: Facts) -> Iterator[Finding]:
    """Whether the clients tell what they publish, task by task."""
    flows = facts.heard.flows if facts.heard else {}
    mute = {name: flow for name, flow in flows.items() if _is_mute(flow)}
    for name, flow in sorted(mute.items()):
        share = 100 * flow.unannounced / flow.received
        said = f"{share:.0f} % of {flow.received} receipts without a task-sent"
        if not flow.sent:
            said += ", and none was heard at all: silent clients, or an old backlog"
        cure = "set task_send_sent_event = True in the app that sends it"
        yield warning("task_sent", name, said, f"{cure}; without it no `wait`, nothing by queue")
    if flows and not mute:
        yield ok("task_sent", "", f"clients tell what they send ({listed(flows)})")


def _is_mute(flow: Flow) -> bool:
    """Whether publications are missing: in a queue that only is long as many are sent as taken."""
    missing = flow.received - max(flow.sent, flow.received - flow.unannounced)
    return missing > MOST_UNSENT * flow.received
