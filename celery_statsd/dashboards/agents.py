"""The agents: can their numbers be trusted, and what do they cost?"""

from celery_statsd.dashboards.overview import UNKNOWN, silent
from celery_statsd.dashboards.panels import (
    CARE,
    OK,
    Dashboard,
    Panel,
    Row,
    Variable,
    should_be_zero,
    tile,
    total,
)

UID = "celery-agents"


def counter(metric: str) -> str:
    """A counter of the chosen agents."""
    return f"C[agent.$agent.{metric}]"


def line(target: str, kind: str = "C") -> str:
    """Under the agent's name."""
    return f"aliasByNode({target},@{kind}.entity)"


def gauge(metric: str) -> tuple[str, ...]:
    """One line an agent."""
    return (line(f"G[agent.$agent.{metric}]", "G"),)


STATE = Row(
    "Trust",
    (
        should_be_zero(
            "Silent", "Does every agent speak?", silent("$agent"),
            "Agents heard in the last day that have said nothing for six flushes, a minute as a "
            "rule. Red from 1: what they count is missing.", empty=UNKNOWN,
        ),
        should_be_zero(
            "Send errors", "Did all reach StatsD?", total(counter("sink_errors")),
            "Sends that failed, over the chosen time. Red from 1. What could be kept was sent "
            "later.",
        ),
        should_be_zero(
            "Values given up", "Was anything thrown away?",
            total(counter("{sink_dropped,flushes_given_up}")),
            "Values a sink had to give up, or flushes past the bound of the journal. Red from 1.",
        ),
        should_be_zero(
            "StatsD overrun", "Does StatsD read fast enough?", total(counter("sink_overrun")),
            "Datagrams a StatsD on the agent's own host had no room for, whoever sent them. Red "
            "from 1: raise net.core.rmem_max, or send by TCP.",
        ),
        should_be_zero(
            "Starts unheard", "Do all events of workers arrive?", total(counter("events_lost")),
            "Starts that workers counted whose event never came. Red from 1. See the workers' "
            "dashboard for which.",
        ),
        should_be_zero(
            "Bad events", "Is there anything that nobody can read?", total(counter("events_bad")),
            "Messages, or parts of them, that no event can be made of.",
        ),
        should_be_zero(
            "Past the bounds", "Are there too many names?",
            total(counter("{series_folded,forgotten}")),
            "Values that went to `other`, and tasks, workers and queues that were forgotten. Red "
            "from 1. Look for names with an id in them.",
        ),
        tile(
            "Unmatched", "Was anything seen only in its middle?",
            total(counter("events_unmatched")),
            "Attempts whose task was never seen, named `unknown`: the agent was started without "
            "its state, or events were lost. Yellow from 1.", steps=CARE, words=OK,
        ),
    ),
)  # fmt: skip

RIVER = Row(
    "The river",
    (
        Panel(
            "Ticks per minute", "Is each agent alive?",
            (line(f"scaleToSeconds(transformNull({counter('ticks')}),60)"),),
            "One a flush: flat at 6 with the usual 10 s. A hole is an agent or a StatsD that was "
            "down.",
        ),
        Panel(
            "Events per second", "How much is there to hear?",
            (line(f"scaleToSeconds({counter('events')},1)"),),
        ),
        Panel(
            "What became of the events", "Does every event end somewhere?",
            (
                "aliasByNode(scaleToSeconds(groupByNode(C[agent.$agent."
                "{events_counted,events_doubled,events_bad,events_dropped}],@C.metric,"
                "'sumSeries'),60),0)",
            ),
            "Per minute. counted + doubled + bad + dropped is all of them.", stacked=True,
        ),
        Panel(
            "Lag of the events, p$pct", "How fresh are the numbers?",
            (line("T[agent.$agent.event_lag:p$pct]", "T"),),
            "From the making of an event to its arrival. The line is drawn at 5 s: the agent is "
            "too slow, the broker is, or a clock is wrong.", unit="ms",
            steps=((None, "transparent"), (5000, "red")), zone="line", empty="there are no events",
        ),
        Panel(
            "Messages that wait for the agent", "Does it keep up?", gauge("backlog"),
            "In the agent's own queue on RabbitMQ. It should return to 0.",
            empty="the broker is Redis",
        ),
        Panel(
            "Sent per second", "What does the network carry?",
            (line(f"scaleToSeconds({counter('sink_bytes')},1)"),), unit="Bps",
        ),
    ),
)  # fmt: skip

WEIGHT = Row(
    "Weight",
    (
        Panel("Memory", "Does it grow without end?", gauge("rss_bytes"), unit="bytes", width=8),
        Panel(
            "Processor", "What does it cost?",
            (
                line(
                    "scale(scaleToSeconds(nonNegativeDerivative(keepLastValue("
                    "G[agent.$agent.cpu_ms],6)),1),0.1)",
                    "G",
                ),
            ),
            "Part of one core.", unit="percent", width=8,
        ),
        Panel("Uptime", "Who restarts?", gauge("uptime_s"), "A saw's teeth are restarts.",
              unit="s", width=8),
        Panel("Tasks in memory", "How much does it follow?", gauge("attempts"),
              "Tasks that wait or run. It must not grow without end.", width=8),
        Panel("Series", "How many names are there?", gauge("series"),
              "Written at each flush; each is a file in Graphite.", width=8),
        Panel(
            "Making a flush, p$pct", "Is the agent near its end?",
            (line("T[agent.$agent.flush:p$pct]", "T"),),
            "Should stay far below the flush interval.",
            unit="ms", width=8,
        ),
    ),
)  # fmt: skip

DASHBOARD = Dashboard(
    UID,
    "Celery / Agents",
    "The watchers, watched.",
    (STATE, RIVER, WEIGHT),
    Variable("agent", "Agent", "C", "agent", "ticks"),
)
