"""One task, or some: is it working, when did it stop, what does it cost?"""

from celery_statsd.dashboards.panels import (
    BAND,
    CARE,
    IN_FLIGHT,
    OK,
    PLAIN,
    Dashboard,
    Link,
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
from celery_statsd.dashboards.targets import ENDED, INTO

UID = "celery-task"

WORKER = Link("Open this worker", "celery-workers", "worker")

DIFFERENCE = f"diffSeries(sumSeries(C[task.$task.{INTO}]),sumSeries(C[task.$task.{ENDED}]))"


def each_task(inner: str) -> str:
    """One line a task of what `inner` makes of its metrics. Windows are summarized: a moving sum
    looks at each point once for each of its window, and there may be hundreds of tasks."""
    return f"aliasByNode(applyByNode(C[task.$task.received],@C.entity,\"{inner}\",'%'),@C.entity)"


def per_minute(metric: str) -> str:
    """How often, in a minute."""
    return f"scaleToSeconds(sumSeries(C[task.$task.{metric}]),60)"


WORKING = Row(
    "Is it working?",
    (
        should_be_zero(
            "Received - ended", "Does every run that starts come to an end?",
            now(f"integral({DIFFERENCE})"),
            "Runs that came in less runs that ended, over the chosen time. Small numbers of either "
            "sign are normal: what runs at the right edge, less what ran at the left. Orange from "
            "10, red from 100: it piles up, or hangs.", steps=IN_FLIGHT, width=4,
        ),
        tile("Received", "How often did a worker take it?", total("C[task.$task.received]"),
             "Retries come in again, and count again.", steps=PLAIN, width=4),
        tile("Succeeded", "How often did it return?", total("C[task.$task.succeeded]"),
             steps=((None, "blue"),), width=4),
        tile("Failed", "How often did it raise?", total("C[task.$task.failed]"),
             "Exceptions, hard time limits, processes that died. Red from 1.", words=OK, width=4),
        tile("Retried", "How often did it ask for another try?", total("C[task.$task.retried]"),
             "Each is a run that did not succeed the first time. Yellow from 1.", steps=CARE,
             words=OK, width=4),
        tile("Lost", "How often did it go down with its worker?", total("C[task.$task.lost]"),
             "Work that was not done, and that nobody will do. Red from 1. With acks_late the "
             "broker gives it to another worker.", words=OK, width=4),
    ),
)  # fmt: skip

TIMELINE = Row(
    "Timeline",
    (
        Panel(
            "Runs per minute, by what happened", "When did it stop, or begin to fail?",
            (
                "aliasByNode(scaleToSeconds(groupByNode(C[task.$task.{sent,received,started,"
                "succeeded,failed,retried,revoked,rejected,returned,unreported,lost}],@C.metric,"
                "'sumSeries'),60),0)",
            ),
            "Received and succeeded should lie on each other.",
        ),
        Panel(
            "In flight, by stage", "Where are its runs now?",
            (
                "aliasByNode(groupByNode(G[task.$task.{queued,reserved,running}],@G.metric,"
                "'sumSeries'),0)",
            ),
            "queued: sent and not yet taken. reserved: held by a busy worker. running: at work.",
            stacked=True,
        ),
        Panel(
            "Received - ended, 10 min, by task", "Which task does not come to an end?",
            (each_task(
                f"diffSeries(summarize(sumSeries(C[%.{INTO}]),'10min','sum'),"
                f"summarize(sumSeries(C[%.{ENDED}]),'10min','sum'))"
            ),),
            "One line a task, of ten minutes each. One that stays above 0 hangs. The red zones "
            "begin at 5.",
            steps=BAND, zone="area", signed=True,
        ),
        Panel(
            "Failing, 10 min, by task", "What part of each task's runs fails?",
            (each_task(
                "asPercent(summarize(sumSeries(C[%.failed]),'10min','sum'),"
                "summarize(sumSeries(C[%.{succeeded,failed}]),'10min','sum'))"
            ),),
            "Failed runs in a hundred, of ten minutes each. The red zone begins at 5.",
            unit="percent", steps=((None, "transparent"), (5, "red")), zone="area",
            empty="nothing finished",
        ),
    ),
)  # fmt: skip

TIME = Row(
    "Time",
    (
        Panel(
            "Run time", "How long does it take, and does that change?",
            (
                "alias(maxSeries(T[task.$task.runtime:mean]),'mean')",
                "aliasByNode(groupByNode(T[task.$task.runtime:p*],@T.measure,'maxSeries'),0)",
                "alias(maxSeries(T[task.$task.runtime:upper]),'longest')",
            ),
            "From the start of the body to its end. upper_90: 90 of 100 runs took no longer. Of "
            "several tasks or agents the worst is shown.", unit="ms", empty="nothing ended",
        ),
        Panel(
            "Wait before it starts, p$pct", "Does it wait in the queue, or in a worker's hands?",
            (
                "alias(maxSeries(T[task.$task.wait:p$pct]),'sent to started')",
                "alias(maxSeries(T[task.$task.prefetch:p$pct]),'received to started')",
                "alias(maxSeries(T[task.$task.lateness:p$pct]),'ETA to started')",
            ),
            "The first is what users feel. When the second is as long, workers hold more than they "
            "can run: lower worker_prefetch_multiplier. The third is of tasks with a countdown or "
            "an ETA only.", unit="ms", empty="nothing was started",
        ),
        Panel(
            "Worker slots used, by task", "How much of the workers does it occupy?",
            (called(by("G", "task.$task.running", "sum")),),
            "How many of its runs go on at the same time.", stacked=True,
        ),
        Panel(
            "Run time, by agent", "Is it slow on one host only?",
            ("aliasByNode(T[task.$task.runtime:mean],@T.reporter,@T.entity)",),
            "One line an agent and task. Of one agent for the whole cluster there is one line, "
            "`all`; with an agent on each host (scope: host) a slow host stands out.", unit="ms",
            empty="nothing ended",
        ),
        Panel(
            "Starts per minute, now and a week ago", "Has a schedule stopped?",
            (
                f"alias({per_minute('started')},'now')",
                "alias(scaleToSeconds(timeShift(sumSeries(C[task.$task.started]),'7d'),60),'a "
                "week ago')",
            ),
            "A task of Celery beat that no longer starts is seen here, and nowhere else.",
        ),
        Panel(
            "Retries and failures", "Does it recover by itself?",
            (
                "aliasByNode(consolidateBy(groupByNode("
                "C[task.$task.{failed,retried,revoked,rejected}],@C.metric,'sumSeries'),'sum'),0)",
            ),
            "Retries without failures are a patient task; both together one that gives up.",
            stacked=True, bars=True,
        ),
    ),
)  # fmt: skip

WHERE = Row(
    "Where it may run",
    (
        Panel(
            "Failures by worker, all tasks", "Is it the task, or a worker?",
            (
                called(
                    f"consolidateBy(highest({by('C', 'worker.*.failed', 'sum')},10,'sum'),'sum')"
                ),
            ),
            "Of all tasks: numbers are not kept for each task on each worker. When all failures "
            "are of one worker, look there. Click on one to open it.", stacked=True, bars=True,
            link=WORKER,
        ),
        Panel(
            "Running, by worker, all tasks", "Which worker is full?",
            (called(by("G", "worker.*.active", "max")),),
            "Of all tasks. Click on one to open it.", stacked=True, link=WORKER,
        ),
    ),
)  # fmt: skip

DASHBOARD = Dashboard(
    UID,
    "Celery / Task",
    "Choose one task, or several. In names a dot is written as -.",
    (WORKING, TIMELINE, TIME, WHERE),
    Variable("task", "Task", "C", "task", "received"),
)
