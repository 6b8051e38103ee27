"""The overview: is anything broken, are users waiting, is there room, which task is it?"""

from celery_statsd.dashboards.panels import (
    ALIVE,
    BALANCED,
    BAND,
    IN_FLIGHT,
    LENGTH,
    PLAIN,
    ZERO,
    Dashboard,
    Link,
    Panel,
    Row,
    by,
    called,
    now,
    should_be_zero,
    tile,
    top,
    total,
)
from celery_statsd.dashboards.targets import ENDED, INTO

UID = "celery-overview"

TASK = Link("Open this task", "celery-task", "task")
TASKS = Link("Which task", "celery-task")
WORKERS = Link("Which worker", "celery-workers")
QUEUES = Link("Which queue", "celery-queues")
AGENTS = Link("Which agent", "celery-agents")

IN_HAND = "{reserved,running}"

DIFFERENCE = f"diffSeries(sumSeries(C[cluster.all.{INTO}]),sumSeries(C[cluster.all.{ENDED}]))"

UPTIME = "maxSeries(G[agent.*.uptime_s])"

TAKERS = "the broker is Redis, and no worker has answered what it takes from"

UNTOLD = "no agent has spoken in the chosen time"

UNKNOWN = "none has been heard of for three minutes"
"""A day is told in points of a minute, and an agent is known from its third on."""

YOUNG = 5
"""Seconds: an agent of that age has heard the heartbeat of every worker."""


def told(target: str, uptime: str = UPTIME) -> str:
    """`target` while an agent tells it. At its farewell an agent closes all gauges, and a StatsD
    repeats that 0: it is no news of what the gauge is of."""
    there = f"isNonNull(removeBelowValue({uptime},{YOUNG}))"
    return f"divideSeries(consolidateBy({target},'last'),consolidateBy({there},'min'))"


DIFFERENCES = (
    f"diffSeries(movingSum(sumSeries(C[cluster.all.{INTO}]),'1hour'),"
    f"movingSum(sumSeries(C[cluster.all.{ENDED}]),'1hour'),"
    f"consolidateBy(keepLastValue(movingWindow(sumSeries(G[cluster.all.{IN_HAND}]),'1hour',"
    "'last'),6),'last'),"
    f"consolidateBy(scale(keepLastValue(timeShift(sumSeries(G[cluster.all.{IN_HAND}]),'1hour'),6),"
    "-1),'last'))"
)

AN_HOUR_AGO = f"transformNull(timeShift({UPTIME},'1hour'),{YOUNG})"

UNACCOUNTED = now(f"movingMedian({told(told(DIFFERENCES), AN_HOUR_AGO)},3)")
"""Nor is it compared with an hour ago, if there was nobody to tell then. The median of three
points: an agent that slept tells its counters a flush before its gauges, since it may no longer be
the one that speaks; what is lost stays for an hour."""

DOWN = (
    'applyByNode({up},@G.entity,"multiplySeries(offset(scale(maxSeries(G[%.up]),-1),1),'
    "isNonNull(removeBelowValue(maxSeries(G[%.heartbeat_age_s]),0.001)))\",'%')"
)
"""Per worker 1 while it is gone without a farewell, else 0: of one that left, or that has been
gone for long, the age of the last heartbeat is closed at 0."""

HEARD_OF = "isNonNull(removeBelowValue(movingSum(transformNull({ticks}),{window}),1))"

SILENT = (
    "setXFilesFactor(aggregate(group(consolidateBy(sumSeries({day}),'last'),"
    "consolidateBy(sumSeries({lately}),'last')),'diff',1),0)"
)
"""A day is told in coarser points than six flushes, so Graphite pairs points that are up to one of
the coarser apart, and the last may have no partner. Such a one is none, where `diffSeries` would
take the one there is for the difference; and an agent is known from its third point on."""


def down(entity: str) -> str:
    """How many of the workers `entity` are down."""
    return now(f"sumSeries({DOWN.format(up=f'G[worker.{entity}.up]')})")


def silent(entity: str) -> str:
    """How many of the agents `entity` have been heard within a day, and not in the last six points:
    in minutes there may be no point at all, where old ones are kept coarsely."""
    ticks = f"C[agent.{entity}.ticks]"
    return now(
        SILENT.format(
            day=HEARD_OF.format(ticks=f"delay({ticks},3)", window="'1day'"),
            lately=HEARD_OF.format(ticks=ticks, window=6),
        )
    )


def ten_minutes(metric: str) -> str:
    """A counter, added up over the ten minutes before each point."""
    return f"movingSum(sumSeries(C[cluster.all.{metric}]),'10min')"


def difference(of: str, less: str, name: str) -> str:
    """How many more came to one stage than to the next, in the ten minutes before each point."""
    return f"alias(diffSeries({ten_minutes(of)},{ten_minutes(less)}),'{name}')"


SHOULD_BE_ZERO = Row(
    "Should be zero",
    (
        should_be_zero(
            "Lost", "Did any task go down with its worker?", total("C[cluster.all.lost]"),
            "Tasks a worker had taken and never finished: it was killed, ran out of memory, or "
            "lost its machine, and nobody else took the task again. Each is work that was not "
            "done. Red from 1, over the chosen time. Look at the failing worker's log, then at "
            "acks_late.",
            link=TASKS,
        ),
        should_be_zero(
            "Failed", "Did any task raise an exception?", total("C[cluster.all.failed]"),
            "Runs that raised, hit their hard time limit, or whose process died, over the chosen "
            "time. A retry is not counted here. Red from 1. Below: which task, which exception.",
            link=TASKS,
        ),
        should_be_zero(
            "Received - ended", "Is work taken in that does not come out again?",
            now(f"integral({DIFFERENCE})"),
            "Runs that came in less runs that ended, over the chosen time: how much the work in "
            "progress has grown. Small numbers of either sign are normal: what runs at the right "
            "edge, less what ran at the left. Orange from 10 and red from 100 either way: tasks "
            "pile up in the workers, or a backlog drains. A StatsD that loses a datagram loses "
            "both sides of it, so the number is then off by what that one flush held. An agent "
            "that was killed without its state_dir forgets what was in progress, and that many "
            "stay in here.",
            steps=IN_FLIGHT, link=TASKS,
        ),
        should_be_zero(
            "Unaccounted", "Can the numbers on this page be trusted?", UNACCOUNTED,
            "What came in, less what ended, less what is in progress, over the last hour: exactly "
            "0 while every number arrives, however busy the system is. Red at any other: datagrams "
            "were dropped on their way to StatsD (the number is what they held, ended less came "
            "in), two StatsD write the same series, or the agent was killed without its state_dir "
            "(the number is what it forgot). It heals an hour later. While no agent speaks it "
            "stays at what was last known. Red from the second flush on.",
            steps=BALANCED, empty=f"Graphite keeps less than an hour, or {UNTOLD}", link=AGENTS,
        ),
        should_be_zero(
            "Unconsumed", "Do messages wait in a queue that no worker takes from?",
            now(f"sumSeries({by('G', 'queue.*.unconsumed', 'max')})"),
            "Messages in queues without a consumer. Nothing will happen to them until a worker is "
            "started with -Q and that queue's name. Red from 1.",
            empty=TAKERS, link=QUEUES,
        ),
        should_be_zero(
            "Workers down", "Has a worker stopped without saying goodbye?", down("*"),
            "Workers whose heartbeat stopped: killed, frozen, or cut off. One that was shut down "
            "properly is not counted. A dead one counts for an hour, then it is forgotten here; "
            "the workers' dashboard keeps its history. Red from 1.",
            link=WORKERS,
        ),
        should_be_zero(
            "Agents silent", "Is the watcher itself alive?", silent("*"),
            "Agents that were heard in the last day and have said nothing for six flushes, a "
            "minute as a rule. While this is red, no other number here is news. An agent you "
            "removed counts for a day. Over more than some hours Graphite's points are coarser, "
            "and six of them longer.",
            empty=UNKNOWN, link=AGENTS,
        ),
        should_be_zero(
            "Agent errors", "Did the watcher lose anything?",
            total("C[agent.*.{sink_errors,sink_dropped,events_bad,series_folded,forgotten}]"),
            "Failed sends, values given up, messages that are no events, and names past the bounds "
            "of memory, over the chosen time. Red from 1: numbers may be missing.",
            link=AGENTS,
        ),
    ),
)  # fmt: skip

NOW = Row(
    "Now",
    (
        tile(
            "Done per min", "How much work gets done?",
            "scaleToSeconds(sumSeries(C[cluster.all.{succeeded,failed}]),60)",
            "Mean over the chosen time.", steps=PLAIN, unit="short", places=1, reduce="mean",
            sparkline=True,
        ),
        tile(
            "Failing, 10 min", "What part of the work fails?",
            now(
                "asPercent(movingSum(sumSeries(C[cluster.all.failed]),'10min'),"
                "movingSum(sumSeries(C[cluster.all.{succeeded,failed}]),'10min'))"
            ),
            "Failed runs in a hundred, of the last ten minutes. Yellow from 1, red from 5.",
            steps=((None, "green"), (1, "yellow"), (5, "red")), unit="percent", places=1,
            empty="nothing finished in ten minutes",
        ),
        tile(
            "Wait, p$pct", "How long do users wait before anything happens?",
            now("maxSeries(T[cluster.all.wait:p$pct])"),
            "From the sending of a task to its start; $pct of 100 tasks waited no longer. Yellow "
            "from 10 s, red from 60 s.",
            steps=((None, "green"), (10_000, "yellow"), (60_000, "red")), unit="ms", places=None,
            empty="nothing was started, or senders lack task_send_sent_event",
        ),
        tile(
            "Run time, p$pct", "How long does a task take?",
            now("maxSeries(T[cluster.all.runtime:p$pct])"),
            "$pct of 100 tasks took no longer.", steps=PLAIN, unit="ms", places=None,
            empty="nothing ended",
        ),
        tile(
            "In flight", "How much work is on its way?",
            now("sumSeries(G[cluster.all.{queued,reserved,running}])"),
            "Tasks that were sent and have not ended: waiting, held by a worker, or running.",
            steps=PLAIN, sparkline=True,
        ),
        tile(
            "Backlog", "How much waits in all queues together?",
            now(f"sumSeries({by('G', 'queue.*.length', 'max')})"),
            "Messages the broker holds for workers to take. Under 100 is good, under 500 fine, "
            "from 1,000 it is a problem, unless you know this load.",
            steps=LENGTH, sparkline=True, empty="the agent may not look at the queues",
            link=QUEUES,
        ),
        tile(
            "Workers online", "Is anybody working?",
            now(told(f"sumSeries({by('G', 'worker.*.up', 'max')})")),
            "Workers whose heartbeat is heard. Red at 0: nothing is being done. While no agent "
            "speaks it stays at what was last known.", steps=ALIVE, empty=UNTOLD, link=WORKERS,
        ),
        tile(
            "Busy", "How many tasks run at this moment?",
            now(f"sumSeries({by('G', 'worker.*.active', 'max')})"),
            "Tasks in the pools of all workers, by their last heartbeat. At the sum of all "
            "--concurrency there is no room left.", steps=PLAIN, sparkline=True, link=WORKERS,
        ),
    ),
)  # fmt: skip

FLOW = Row(
    "Flow",
    (
        Panel(
            "Tasks per minute, by stage", "Does the work pass through evenly?",
            (
                "aliasByNode(scaleToSeconds(groupByNode("
                "C[cluster.all.{sent,received,started,succeeded,failed,retried,lost}],"
                "@C.metric,'sumSeries'),60),0)",
            ),
            "When all is well the lines lie on each other. A stage that falls behind the one "
            "before it is where work piles up.",
        ),
        Panel(
            "Differences between stages, 10 min", "Where does work pile up?",
            (
                difference("sent", INTO, "sent - received"),
                difference(INTO, "started", "received - started"),
                difference("started", ENDED, "started - ended"),
            ),
            "Above 0 work gathers before that stage, below 0 it drains. Humps are load; a line "
            "that stays above 0 is a leak. The red zones begin at 5. Without task_send_sent_event "
            "in the senders, the first line is below 0 all the time.",
            steps=BAND, zone="area", signed=True,
        ),
        Panel(
            "In flight, by stage", "Where is the work now?",
            (
                "aliasByNode(groupByNode(G[cluster.all.{queued,reserved,running}],@G.metric,"
                "'sumSeries'),0)",
            ),
            "queued: sent and not yet taken. reserved: held by a worker that is busy with others. "
            "running: at work.", stacked=True,
        ),
        Panel(
            "Queue length", "Which queue is too long?",
            (called(f"consolidateBy(highest({by('G', 'queue.*.length', 'max')},10,'max'),'max')"),),
            "The ten longest. The lines are drawn at 100, 500 and 1,000 messages; peaks are kept "
            "when you zoom out.", steps=LENGTH, zone="line",
            empty="the agent may not look at the queues",
            link=Link("Open this queue", "celery-queues", "queue"),
        ),
        Panel(
            "Failures by task", "Which task fails, and since when?",
            (called(f"consolidateBy(highest({by('C', 'task.*.failed', 'sum')},10,'sum'),'sum')"),),
            "The ten that fail most. Click on one to open it.", stacked=True, bars=True, link=TASK,
        ),
        Panel(
            "Failures by exception", "What goes wrong?",
            (
                called(
                    f"consolidateBy(highest({by('C', 'exception.*.failed', 'sum')},10,'sum'),"
                    "'sum')"
                ),
            ),
            "The ten most common classes of exception.", stacked=True, bars=True,
            empty="no task has ever failed",
        ),
        Panel(
            "Wait and run time", "Do users wait for room, or for the work itself?",
            (
                "alias(maxSeries(T[cluster.all.wait:p$pct]),'wait p$pct')",
                "alias(maxSeries(T[cluster.all.wait:mean]),'wait mean')",
                "alias(maxSeries(T[cluster.all.runtime:p$pct]),'run time p$pct')",
                "alias(maxSeries(T[cluster.all.runtime:mean]),'run time mean')",
            ),
            "wait: from the sending to the start. A growing wait with an even run time asks for "
            "more workers; a growing run time for a look at what the tasks call. Percentiles of "
            "several agents cannot be joined: the worst is shown.", unit="ms",
        ),
        Panel(
            "Endings that nobody reported", "Do tasks end in ways that leave no trace?",
            (
                "aliasByNode(consolidateBy(groupByNode("
                "C[cluster.all.{lost,unreported,returned,found,expired,unseen}],@C.metric,"
                "'sumSeries'),'sum'),0)",
            ),
            "lost: gone with a worker. unreported: the worker lives and no longer runs it. "
            "returned: its message went back to the queue. found: seen first in its middle. "
            "expired: too old before anyone took it. unseen: sent, and its queue has long moved "
            "on.",
            stacked=True, bars=True,
        ),
    ),
)  # fmt: skip

TOP = Row(
    "Which task",
    (
        top(
            "Most failures", "Which tasks fail most?",
            called(
                f"consolidateBy(integral(highest({by('C', 'task.*.failed', 'sum')},12,'sum')),"
                "'last')"
            ),
            "Failed runs over the chosen time. Click on a name to open that task.", steps=ZERO,
            link=TASK,
        ),
        top(
            "Most time used", "Which tasks keep the workers busy?",
            called(
                "consolidateBy(scale(integral(highest("
                "groupByNode(T[task.*.runtime:sum],@T.entity,'sumSeries'),12,'sum')),0.001),'last')"
            ),
            "All run times added up. The first of these is where a faster task saves most.",
            unit="s",
            empty="nothing ended", link=TASK,
        ),
        top(
            "Slowest, p$pct", "Which tasks take long?",
            called(
                "consolidateBy(highest(groupByNode(T[task.*.runtime:p$pct],@T.entity,"
                "'maxSeries'),12,'max'),'max')"
            ),
            "The longest of the chosen time. Candidates for a time limit, or for a split.",
            unit="ms",
            empty="nothing ended", link=TASK,
        ),
    ),
)  # fmt: skip

DASHBOARD = Dashboard(
    UID,
    "Celery / Overview",
    "Ten seconds: the first row should be all green.",
    (SHOULD_BE_ZERO, NOW, FLOW, TOP),
)
