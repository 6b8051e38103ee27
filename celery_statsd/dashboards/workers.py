"""The workers: who is there, who is full, who swallows tasks."""

from celery_statsd.dashboards.overview import UNTOLD, down, told
from celery_statsd.dashboards.panels import (
    ALIVE,
    BAND,
    CARE,
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
from celery_statsd.dashboards.targets import ENDED, INTO

UID = "celery-workers"

UNASKED = "no worker has answered what it does"
THERE = ((0, "gone", "red"), (1, "there", "green"))


def gauge(metric: str) -> str:
    """One line a worker."""
    return by("G", f"worker.$worker.{metric}", "max")


def counter(metric: str) -> str:
    """One line a worker."""
    return by("C", f"worker.$worker.{metric}", "sum")


STATE = Row(
    "Workers",
    (
        tile("Online", "How many work?", now(told(f"sumSeries({gauge('up')})")),
             "Workers whose heartbeat is heard. Red at 0. While no agent speaks it stays at what "
             "was last known.", steps=ALIVE, empty=UNTOLD),
        should_be_zero(
            "Down", "Has one stopped without saying goodbye?", down("$worker"),
            "Heartbeat stopped: killed, frozen, or cut off. One that was shut down properly is not "
            "counted. A dead one counts for an hour.",
        ),
        tile("Went away", "How often did one go?", total("C[worker.$worker.offline]"),
             "Deaths and proper shutdowns over the chosen time; a reconnect is neither. Yellow "
             "from 1.", steps=CARE),
        tile("Restarts", "How often did one come back under its name?",
             total("C[worker.$worker.restarts]"),
             "Many in a short time are a crash loop. Yellow from 1.", steps=CARE),
        tile("Busy", "How many tasks run?", now(f"sumSeries({gauge('active')})"),
             "Tasks in the pools, by the last heartbeats.", steps=PLAIN, sparkline=True),
        tile("Idle all the time", "Are there more workers than work?",
             now(f"countSeries(filterSeries({gauge('active')},'max','<=',0))"),
             "Workers that ran nothing at any heartbeat of the chosen time. Blue: a thing to know, "
             "not to mend.", steps=((None, "green"), (1, "blue")), empty="none is"),
        should_be_zero(
            "Events unheard", "Do workers do more than they tell?",
            total("C[worker.$worker.events_lost]"),
            "Starts the workers counted whose event never came, over the chosen time. Red from 1: "
            "the counts of tasks are too small by so many. A worker without -E, or the threads "
            "pool before Celery 5.7.",
        ),
        tile("Clock ahead", "Do the clocks agree?",
             "maxSeries(absolute(G[worker.$worker.clock_skew_ms]))",
             "The largest difference from the agent's clock. A few ms are the way here; yellow "
             "from 1 s, red from 10 s: times of waiting are then wrong.",
             steps=((None, "green"), (1000, "yellow"), (10_000, "red")), unit="ms", reduce="max",
             places=None),
    ),
)  # fmt: skip

WORK = Row(
    "Work",
    (
        Panel(
            "Up and down", "Who was there, and when?",
            (called(f"consolidateBy({gauge('up')},'min')"),),
            "One bar a worker: green while its heartbeat was heard. One that left properly is red "
            "too, for as long as StatsD repeats its last word.", type="state-timeline",
            steps=ALIVE, words=THERE, width=24,
        ),
        Panel(
            "Running, by worker", "Is the work spread evenly?", (called(gauge("active")),),
            "Tasks in each pool, by the last heartbeat.", stacked=True,
        ),
        Panel(
            "Held in reserve, by worker", "Does one hoard tasks while others idle?",
            (called(f"consolidateBy({gauge('reserved')},'max')"),),
            "Received and not yet started. Much of it on one worker: lower "
            "worker_prefetch_multiplier.",
        ),
        Panel(
            "Finished per minute, by worker", "Who gets work done?",
            (called(f"scaleToSeconds({counter('{succeeded,failed}')},60)"),),
        ),
        Panel(
            "Received - ended, 10 min, by worker", "Does a worker swallow tasks?",
            (
                "aliasByNode(applyByNode(C[worker.$worker.received],@C.entity,"
                f"\"diffSeries(summarize(sumSeries(C[%.{INTO}]),'10min','sum'),"
                f"summarize(sumSeries(C[%.{ENDED}]),'10min','sum'))\",'%'),@C.entity)",
            ),
            "Of ten minutes each. One that stays above 0 takes tasks and does not end them. The "
            "red zones begin at 5.", steps=BAND, zone="area", signed=True,
        ),
        Panel(
            "Failures by worker", "Do all failures come from one machine?",
            (called(f"consolidateBy({counter('failed')},'sum')"),),
            "Then it is the machine, not the task.", stacked=True, bars=True,
        ),
        Panel(
            "Lost and unreported, by worker", "Where do tasks vanish?",
            (called(f"consolidateBy({counter('{lost,unreported}')},'sum')"),),
            "Runs that went down with the worker, or of which it no longer knows.", stacked=True,
            bars=True,
        ),
    ),
)  # fmt: skip

HEALTH = Row(
    "Health",
    (
        Panel(
            "Age of the last heartbeat", "Who has gone quiet?",
            (called(f"consolidateBy({gauge('heartbeat_age_s')},'max')"),),
            "A worker that lives speaks every 2 s. The line is drawn at 60 s.", unit="s",
            steps=((None, "transparent"), (60, "red")), zone="line",
        ),
        Panel(
            "Load of the host, 1 min", "Is the machine at its end?",
            (called(gauge("loadavg_1m")),),
            "As the worker's heartbeat tells it. Above the number of cores, processes wait.",
        ),
        Panel(
            "Comings and goings", "Who restarts again and again?",
            (
                "aliasByNode(consolidateBy(groupByNodes(C[worker.$worker.{offline,restarts}],"
                "'sumSeries',@C.entity,@C.metric),'sum'),0,1)",
            ),
            "offline: it died or left. restarts: a new process under its name.", stacked=True,
            bars=True,
        ),
        Panel(
            "Clock ahead of the agent's", "Which clock is wrong?",
            (called(gauge("clock_skew_ms")),),
            "Below 0 it is behind; some ms are the way here.", unit="ms", signed=True,
        ),
    ),
)  # fmt: skip

ANSWERS = Row(
    "What they answer",
    (
        Panel(
            "Room in the pool, by worker", "Who has slots to spare?",
            (
                "aliasByNode(applyByNode(G[worker.$worker.pool_size],@G.entity,"
                "\"diffSeries(maxSeries(keepLastValue(G[%.pool_size],12)),maxSeries(G[%.active]))"
                "\",'%'),@G.entity)",
            ),
            "Slots less running tasks. 0 everywhere while queues grow: more workers are needed.",
            empty=UNASKED,
        ),
        Panel(
            "Prefetch count", "How many tasks may one take at a time?",
            (called(gauge("prefetch_count")),),
            "0 is no limit. It grows while tasks are kept for an ETA.", empty=UNASKED,
        ),
        Panel(
            "Kept for an ETA, by worker", "What waits inside of workers?",
            (called(gauge("scheduled")),),
            "Tasks with a countdown or an ETA lie in a worker until they are due.", empty=UNASKED,
        ),
        Panel(
            "Farthest ETA", "How long will the longest have to be kept?",
            (called(gauge("eta_ahead_s")),),
            "On Redis a task that is kept for longer than visibility_timeout (an hour, unless it "
            "was set) is given to another worker too, and runs twice.", unit="s",
            empty=f"no task has an ETA, or {UNASKED}",
        ),
        Panel(
            "What is wrong, by worker", "Which worker does harm?",
            (
                "aliasByNode(filterSeries(consolidateBy(groupByNodes("
                "G[worker.$worker.{flapping,redelivered}],'maxSeries',@G.entity,@G.metric),'max'),"
                "'max','>',0),0,1)",
            ),
            "Only those of which something was wrong in the chosen time. flapping: three starts "
            "within ten minutes. redelivered: it keeps a task for so long that Redis gives it to "
            "others.", type="state-timeline",
            steps=((None, "green"), (1, "red")), words=((0, "well", "green"), (1, "wrong", "red")),
            width=24, empty=f"all is well, or {UNASKED}",
        ),
    ),
)  # fmt: skip

DASHBOARD = Dashboard(
    UID,
    "Celery / Workers",
    "All workers, or those you choose.",
    (STATE, WORK, HEALTH, ANSWERS),
    Variable("worker", "Worker", "G", "worker", "up"),
)
