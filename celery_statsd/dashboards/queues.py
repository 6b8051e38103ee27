"""The queues and the broker: what waits, for whom, since when."""

from celery_statsd.dashboards.overview import TAKERS, UNTOLD, told
from celery_statsd.dashboards.panels import (
    ALIVE,
    LENGTH,
    PLAIN,
    Dashboard,
    Panel,
    Row,
    Variable,
    by,
    called,
    now,
    should_be_zero,
    tile,
    total,
)

UID = "celery-queues"

LEVELS = (
    (0, "good", "green"),
    (1, "fine", "yellow"),
    (2, "be careful", "orange"),
    (3, "bad", "red"),
)
UNASKED = "nobody has answered what it does"
SHAPES = ((0, "well", "green"), (1, "wrong", "red"))
UNSENT = "senders lack task_send_sent_event"


def gauge(metric: str) -> str:
    """One line a queue."""
    return by("G", f"queue.$queue.{metric}", "max")


STATE = Row(
    "Queues",
    (
        tile("Backlog", "How much waits?", now(f"sumSeries({gauge('length')})"),
             "Messages in all chosen queues. Under 100 is good, under 500 fine, from 1,000 it is a "
             "problem, unless you know this load.", steps=LENGTH, sparkline=True),
        tile("Longest", "How long is the longest queue?", now(f"maxSeries({gauge('length')})"),
             "Below: which one.", steps=LENGTH),
        should_be_zero(
            "Unconsumed", "Do messages wait that no worker takes?",
            now(f"sumSeries({gauge('unconsumed')})"),
            "Messages in queues without a consumer. Start a worker with -Q and the queue's name.",
            empty=TAKERS,
        ),
        tile("No consumer", "Which queues has everybody forgotten?",
             now(f"countSeries(filterSeries({gauge('consumers')},'last','<',1))"),
             "Queues nobody takes from, the empty ones too: a missing -Q is found before the first "
             "message.", empty=f"none is, or {TAKERS}"),
        tile("Oldest message", "How long has the oldest waited?",
             now(f"maxSeries({gauge('oldest_age_s')})"),
             "Yellow from a minute, red from ten.",
             steps=((None, "green"), (60, "yellow"), (600, "red")), unit="s", places=None,
             empty="nothing waits, or nobody knows since when"),
        tile("Held by workers", "How much have workers taken and not finished?",
             now(f"sumSeries({gauge('unacked')})"),
             "Running, prefetched, or kept for an ETA. They come back when the worker dies.",
             steps=PLAIN, empty="the broker does not tell"),
        tile("Broker", "Does the agent hear the broker?",
             now(told("minSeries(keepLastValue(G[broker.*.up],6))")),
             "UP while every agent is connected, DOWN when one is not. While no agent speaks it "
             "stays at what was last known.", steps=ALIVE, empty=UNTOLD,
             words=((0, "DOWN", "red"), (1, "UP", "green"))),
        should_be_zero(
            "Looks that failed", "Could the queues be looked at?",
            total("C[broker.*.looks_failed]"),
            "Over the chosen time. Red from 1: the lengths here were out of date for a while.",
        ),
    ),
)  # fmt: skip

WAITING = Row(
    "What waits",
    (
        Panel(
            "Queue length now", "Which queue is too long?",
            (called(f"consolidateBy({gauge('length')},'last')"),),
            "Green under 100, yellow under 500, orange under 1,000, then red.", type="bargauge",
            unit="locale", steps=LENGTH,
        ),
        Panel(
            "Queue length", "Does it grow or shrink?",
            (called(f"consolidateBy({gauge('length')},'max')"),),
            "Peaks are kept when you zoom out.", steps=LENGTH, zone="line",
        ),
        Panel(
            "Growth per minute", "Do the workers keep up?",
            (called(f"scaleToSeconds(derivative(keepLastValue({gauge('length')},6)),60)"),),
            "Above 0 for long: no. Below 0: the backlog drains.", signed=True,
        ),
        Panel(
            "Oldest message, by queue", "How long do messages wait, even in a short queue?",
            (called(f"consolidateBy({gauge('oldest_age_s')},'max')"),), unit="s",
            empty="nothing waits, or nobody knows since when",
        ),
        Panel(
            "Wait before the start, p$pct", "How long did tasks wait that have started?",
            (called("groupByNode(T[queue.$queue.wait:p$pct],@T.entity,'maxSeries')"),),
            "From the sending to the start, by queue.", unit="ms",
            empty=f"nothing was started, or {UNSENT}",
        ),
        Panel(
            "Sent per minute", "How much comes in?",
            (called(f"scaleToSeconds({by('C', 'queue.$queue.sent', 'sum')},60)"),),
            empty=UNSENT,
        ),
        Panel(
            "Level", "Is it too long by your own thresholds?",
            (called(f"consolidateBy({gauge('level')},'max')"),),
            "By the setting queue_levels.",
            type="state-timeline",
            steps=((None, "green"), (1, "yellow"), (2, "orange"), (3, "red")), words=LEVELS,
        ),
        Panel(
            "Memory, by queue", "Which queue fills the broker?", (called(gauge("memory_bytes")),),
            unit="bytes", empty="the broker does not tell",
        ),
    ),
)  # fmt: skip

CONSUMERS = Row(
    "Who takes from them",
    (
        Panel(
            "Consumers", "Is anybody there?", (called(gauge("consumers")),),
            "A worker is one consumer of each of its queues. The red zone is 0.",
            steps=((None, "red"), (1, "transparent")), zone="area", empty=TAKERS,
        ),
        Panel(
            "Stuck: length of queues nobody takes from", "What will never be done like this?",
            (called(f"filterSeries({gauge('unconsumed')},'max','>',0)"),),
            "Messages that wait for a worker that is not there.",
            steps=((None, "transparent"), (1, "red")), zone="area", empty="all is well",
        ),
        Panel(
            "Held by workers, by queue", "Do workers hoard?", (called(gauge("unacked")),),
            "Taken and not finished: running, prefetched, or kept for an ETA.",
            empty="the broker does not tell",
        ),
        Panel(
            "Consumers of empty queues", "Where could workers be spared?",
            (
                "aliasByNode(applyByNode(filterSeries(G[queue.$queue.length],'max','<=',0),"
                "@G.entity,"
                "'maxSeries(G[%.consumers])','%'),@G.entity)",
            ),
            "Queues that were empty all the chosen time, and how many took from them: they could "
            "be scaled to zero.", empty=f"no queue was empty all the time, or {TAKERS}",
        ),
    ),
)  # fmt: skip

WRONG = Row(
    "Findings",
    (
        should_be_zero(
            "Findings", "Is something wrong between queues and workers?",
            now("maxSeries(G[cluster.all.findings])"),
            "How much is found wrong, in the queues and in the workers. Red from 1: beside and "
            "below, and `/findings` of the agent tells it in sentences, each with its cure.",
            empty=UNASKED, width=4,
        ),
        Panel(
            "What is wrong, by queue", "Which queue has workers and is not served well?",
            (
                "aliasByNode(filterSeries(consolidateBy(groupByNodes("
                "G[queue.$queue.{stuck,head_of_line,idle_elsewhere}],'maxSeries',"
                "@G.entity,@G.metric),'max'),'max','>',0),0,1)",
            ),
            "Only those of which something was wrong in the chosen time. stuck: nothing moves "
            "though its workers are idle. head_of_line: one task has all slots, and others wait "
            "behind it. idle_elsewhere: it waits while workers of empty queues have room.",
            type="state-timeline", steps=((None, "green"), (1, "red")), words=SHAPES, width=20,
            empty=f"all is well, or {UNASKED}",
        ),
        Panel(
            "Time to drain", "When is it done, at this pace?", (called(gauge("drain_s")),),
            "Until the queue is empty, if it goes on as in the last minutes.", unit="s",
            empty="no queue is shrinking",
        ),
        Panel(
            "Safe to scale down", "Whose workers can be taken away?",
            (called(f"consolidateBy({gauge('safe_to_scale_down')},'min')"),),
            "1 while nothing waits in it, and nothing is in the hands of those who take from it; "
            "0 whenever that is not known.", type="state-timeline",
            steps=((None, "text"), (1, "green")), words=((0, "keep", "text"), (1, "safe", "green")),
            empty=UNASKED,
        ),
    ),
)  # fmt: skip

BROKER = Row(
    "Broker",
    (
        Panel(
            "Answer time, p$pct", "Is the broker slow?",
            ("aliasByNode(T[broker.*.ping:p$pct],@T.entity,@T.reporter)",),
            "Its answer to a simple question, as each agent sees it.", unit="ms", width=6,
            empty="the agent may not look at the queues",
        ),
        Panel(
            "Connections", "Do clients pile up?",
            ("aliasByNode(G[broker.*.connections],@G.entity,@G.reporter)",),
            width=6, empty="the broker does not tell",
        ),
        Panel(
            "Memory", "Is the broker full?",
            ("aliasByNode(G[broker.*.memory_bytes],@G.entity,@G.reporter)",),
            unit="bytes", width=6, empty="the broker does not tell",
        ),
        Panel(
            "Reconnects", "How often was the broker lost?",
            ("aliasByNode(consolidateBy(C[broker.*.reconnects],'sum'),@C.entity,@C.reporter)",),
            "Times an agent had to connect again.", bars=True, width=6,
        ),
        Panel(
            "Held by workers, of all queues", "How much would come back if all workers died?",
            ("aliasByNode(G[broker.*.unacked],@G.entity,@G.reporter)",),
            "On Redis also what workers hold of queues that nobody looks at.",
            empty="the broker does not tell",
        ),
        Panel(
            "Asked in vain", "Could the workers be asked what they do?",
            ("aliasByNode(consolidateBy(C[broker.*.asks_failed],'sum'),@C.entity,@C.reporter)",),
            "While they cannot, nothing is told of pools and reserves.", bars=True,
            empty="nobody asks",
        ),
    ),
)  # fmt: skip

DASHBOARD = Dashboard(
    UID,
    "Celery / Queues and broker",
    "All queues, or those you choose.",
    (STATE, WAITING, CONSUMERS, WRONG, BROKER),
    Variable("queue", "Queue", "G", "queue", "length"),
)
