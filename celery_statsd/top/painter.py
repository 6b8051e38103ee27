"""What stands on the screen: lines, made of what is known, what was asked for, and the size.

celery-statsd top  redis://...          the title
LOST  3 tasks lost; w2@web1 down        the verdict
!lost 3  ~failed 12  ...                what should be 0
in 120/s  out 119/s  queued 12  ...     the flow
[1 tasks 7]  2 workers 2  ...           the tables, and the order of this one
name             in/s  queue  ...       the table, or one that is looked into
q quit  ? help  ...                     the foot
"""

from collections.abc import Sequence
from typing import NamedTuple

from celery_statsd.top import words
from celery_statsd.top.columns import COLUMNS, LEAST_NAME, NAME, Column, fitting, grade, sort
from celery_statsd.top.facts import ENDED, Facts
from celery_statsd.top.frame import Detail, Frame, Tab
from celery_statsd.top.lines import (
    EMPTY,
    GRADED,
    Line,
    Piece,
    Style,
    apart,
    fill,
    fit,
    flow,
    line,
    width,
)
from celery_statsd.top.pages import detail_page, help_page
from celery_statsd.top.state import Shown, State
from celery_statsd.top.verdict import ZEROS, Grade, verdict

FOOT = (
    "q quit", "? help", "Tab table", "Enter look into", "/ filter", "s sort", "r turn", "p pause",
)  # fmt: skip

HIGH = 30
"""Rows from which on there is room for all of the flow, whatever the width."""

LOUD = {Grade.GOOD: Style.GOOD, Grade.CAREFUL: Style.CAREFUL, Grade.BAD: Style.BAD}


class Size(NamedTuple):
    """Of a terminal."""

    rows: int
    columns: int


class Canvas(NamedTuple):
    """A full screen, and what the next key has to know of it."""

    lines: Sequence[Line]
    shown: Shown


def paint(state: State, frame: Frame, detail: Detail, size: Size) -> Canvas:
    """The whole screen; `detail` is of what is looked into. Never wider or higher than `size`."""
    top = [*head(frame, state, size), tabs(frame, state, size.columns)]
    foot = fill(_foot(frame, state), size.columns)
    room = max(0, size.rows - len(top) - 1)
    if state.helping:
        body, shown = _page(help_page(state.tab), state, room)
    elif state.inside:
        facts = next((f for f in frame.tables[state.tab] if f.entity == state.inside), None)
        facts = facts or Facts(state.inside)
        page = detail_page(state.tab, facts, detail, frame.time, size.columns)
        body, shown = _page(page, state, room)
    else:
        body, shown = _table(state, frame, size.columns, room)
    lines = [*top, *body[:room], *[EMPTY] * (room - len(body))]
    return Canvas([fit(one, size.columns) for one in [*lines[: size.rows - 1], foot]], shown)


def head(frame: Frame, state: State, size: Size) -> list[Line]:
    """The title, the verdict, what should be 0, and the flow."""
    columns = size.columns
    word, worst, reasons = (found := verdict(frame)).word, found.grade, found.text
    loud = Piece(f"{worst.value}{word} ", LOUD[worst])
    said = words.head(reasons, columns - width((loud,)) - 1)
    return [
        _title(frame, state, columns),
        line(loud, Piece(f" {said}", Style.BOLD if worst is Grade.BAD else Style.PLAIN)),
        *flow([_zero(zero.text(frame), zero.grade(frame)) for zero in ZEROS], columns, " "),
        *flow(_flow(frame), columns)[: 1 if size.rows < HIGH else None],
    ]


def tabs(frame: Frame, state: State, columns: int) -> Line:
    """The names of the tables, how many rows each has, and how this one stands."""
    parts: list[str | Piece] = []
    for number, tab in enumerate(Tab, 1):
        name = f"{number} {tab.value} {len(frame.tables[tab])}"
        here = tab is state.tab
        parts += [Piece(f"[{name}]" if here else f" {name} ", Style.BOLD if here else Style.DIM)]
    order = state.order
    asked = f"/{words.safe(order.filter)}{'_' if state.typing else ''}  "
    asked = asked if order.filter or state.typing else ""
    by = f"by {order.head}{', turned' if order.turned else ''} "
    return apart(line(*parts), line(Piece(asked, Style.BOLD), Piece(by, Style.DIM)), columns)


def table(tab: Tab, rows: Sequence[Facts], columns: int, total: Facts | None = None) -> list[Line]:
    """All rows below their heads; `total` stands below them."""
    chosen = fitting(COLUMNS[tab], columns)
    name = _room_for(rows, chosen, columns)
    drawn = [_heads(tab, chosen, name, ""), *(_row(tab, row, chosen, name) for row in rows)]
    return [*drawn, _row(tab, total, chosen, name, bold=True)] if total else drawn


def _table(state: State, frame: Frame, columns: int, room: int) -> tuple[list[Line], Shown]:
    """As much of the table as there is room for, with the chosen row in it."""
    tab, order = state.tab, state.order
    asked = order.filter.lower()
    rows = [facts for facts in frame.tables[tab] if asked in facts.entity.lower()]
    rows = sort(tab, rows, order.head, order.turned)
    names = tuple(facts.entity for facts in rows)
    shown = Shown(names, max(1, room - (2 if tab is Tab.TASKS else 1)))
    place = state.place(names)
    first = min(max(order.offset, place - shown.room + 1), place)
    chosen = fitting(COLUMNS[tab], columns)
    name = _room_for(frame.tables[tab], chosen, columns)
    body = [_heads(tab, chosen, name, order.head)]
    for number, facts in enumerate(rows[first : first + shown.room], first):
        row = _row(tab, facts, chosen, name)
        body.append(_highlighted(row, columns) if number == place else row)
    if not rows:
        body.append(line(Piece(f"  {_nothing(state, frame)}", Style.DIM)))
    if tab is Tab.TASKS:
        body.append(_row(tab, frame.total, chosen, name, bold=True))
    return body, shown


def _nothing(state: State, frame: Frame) -> str:
    """Why a table is empty."""
    if frame.tables[state.tab]:
        return f"none contains {words.safe(state.order.filter)!r} (Esc: all again)"
    if state.tab is Tab.QUEUES:
        hint = "" if frame.probed else " (and this transport cannot be asked for its queues)"
        return f"no queue is known: name them by -Q, or set task_send_sent_event{hint}"
    return "nothing was heard yet"


def _page(page: list[Line], state: State, room: int) -> tuple[list[Line], Shown]:
    """The part of a page to which it is scrolled."""
    most = max(0, len(page) - room)
    first = min(state.scrolled, most)
    return page[first : first + room], Shown((), max(1, room - 1), most)


def _title(frame: Frame, state: State, columns: int) -> Line:
    left = line(Piece("celery-statsd top", Style.BOLD), f"  {words.safe(frame.place)}")
    paused = Piece("PAUSED  ", Style.CAREFUL) if state.paused else Piece("")
    since = words.clock(frame.time - frame.began)
    right = line(paused, Piece(f"last {frame.total.span:.0f} s of {since} ", Style.DIM))
    return apart(fit(left, columns - width(right) - 1), right, columns)


def _zero(said: str, worst: Grade) -> Line:
    return line(Piece(said, GRADED[worst] if worst is not Grade.GOOD else Style.DIM))


def _flow(frame: Frame) -> list[Line]:
    total, agent = frame.total, frame.agent
    said = (
        f" in {words.rate(total.rate('received', 'on_arrival'))}/s",
        f"out {words.rate(total.rate(*ENDED))}/s",
        f"queued {words.count(total.gauge('queued'))}",
        f"resv {words.count(total.gauge('reserved'))}",
        f"run {words.count(total.gauge('running'))}",
        f"wait p95 {words.milliseconds(total.upper('wait', 95))}",
        f"run p95 {words.milliseconds(total.upper('runtime', 95))}",
        f"{words.rate(agent.rate('events'))} events/s",
        f"lag p95 {words.milliseconds(agent.upper('event_lag', 95))}",
    )
    return [line(text) for text in said]


def _room_for(rows: Sequence[Facts], chosen: Sequence[Column], columns: int) -> int:
    """Columns of the screen for the names: what there is, or what the longest needs."""
    longest = max((words.width(words.safe(facts.entity)) for facts in rows), default=0)
    room = columns - sum(column.width for column in chosen)
    return min(room, max(LEAST_NAME, longest + 3))


def _heads(tab: Tab, chosen: Sequence[Column], name: int, head: str) -> Line:
    """The heads; the one by which it is sorted stands out."""
    title = f" {tab.value.removesuffix('s')}"
    cells = [(title.ljust(name)[:name], NAME)]
    cells += [(column.head.rjust(column.width), column.head) for column in chosen]
    return tuple(Piece(text, Style.BOLD if of == head else Style.HEAD) for text, of in cells)


def _row(tab: Tab, facts: Facts, chosen: Sequence[Column], name: int, bold: bool = False) -> Line:
    """One entity: the worst of it as a sign, its name, its numbers."""
    worst = grade(tab, facts)
    called = words.tail(words.safe(facts.entity), name - 2)
    padding = " " * (name - 1 - words.width(called))
    style = Style.BOLD if bold else Style.PLAIN
    cells = (_cell(column, facts, style) for column in chosen)
    return line(Piece(worst.value, GRADED[worst]), Piece(f"{called}{padding}", style), *cells)


def _cell(column: Column, facts: Facts, style: Style) -> Piece:
    said = column.text(facts)
    worst = column.grade(facts)
    if worst is not Grade.GOOD:
        style = GRADED[worst]
    elif said in ("0", "-"):
        style = Style.DIM
    return Piece(f" {said:>{column.width - 1}}", style)


def _highlighted(row: Line, columns: int) -> Line:
    """The chosen row; what is bad stays to be seen."""
    loud = (Style.BAD, Style.CAREFUL)
    return fill(
        tuple(piece if piece.style in loud else Piece(piece.text, Style.CHOSEN) for piece in row),
        columns,
        Style.CHOSEN,
    )


def _foot(frame: Frame, state: State) -> Line:
    if state.typing:
        return line(Piece(" type what the name contains; Enter keeps it, Esc: all", Style.HEAD))
    if state.helping:
        return line(Piece(" any key goes back, q quits", Style.HEAD))
    if state.inside:
        return line(Piece(" Esc back  up down scroll  p pause  ? help  q quit", Style.HEAD))
    if frame.said:
        return line(Piece(f" {words.safe(frame.said)}", Style.CAREFUL))
    return line(Piece(" " + "  ".join(FOOT), Style.HEAD))
