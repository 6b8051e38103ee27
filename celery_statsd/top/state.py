"""What the user has asked to see, and what becomes of that with each key: no terminal in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from celery_statsd.top.columns import SORTED, heads
from celery_statsd.top.frame import Tab

LONGEST_FILTER = 60
"""Characters."""

TABS = tuple(Tab)


@dataclass(frozen=True, slots=True)
class Order:
    """How one table stands: by which column, which way, what its name must contain, which row is
    chosen ("": the first) and how many are scrolled away."""

    head: str
    turned: bool = False
    filter: str = ""
    chosen: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """All of it. `inside` is the entity that is looked into, "" for none, `scrolled` how far down;
    `typing`: keys go into the filter; `over`: the user has had enough."""

    tab: Tab = Tab.TASKS
    orders: Mapping[Tab, Order] = field(
        default_factory=lambda: {tab: Order(SORTED[tab]) for tab in TABS}
    )
    inside: str = ""
    scrolled: int = 0
    typing: bool = False
    paused: bool = False
    helping: bool = False
    over: bool = False

    @property
    def order(self) -> Order:
        """That of the table which is shown."""
        return self.orders[self.tab]

    def ordered(self, **changes: str | int | bool) -> "State":
        """The same with another order of the table which is shown."""
        order = replace(self.order, **changes)  # type: ignore[arg-type]
        return replace(self, orders={**self.orders, self.tab: order})

    def place(self, names: Sequence[str]) -> int:
        """Which of the rows, named in their order, is the chosen one."""
        return names.index(self.order.chosen) if self.order.chosen in names else 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What was on the screen when a key came: the rows' names in their order, how many rows there
    is room for, and how far down a page can be scrolled."""

    names: Sequence[str] = ()
    room: int = 1
    most: int = 0


Way = Callable[[State, Shown], State]


def press(state: State, key: str, shown: Shown) -> State:
    """The state after `key`: a character, or a name as in KEYS. One that means nothing changes
    nothing."""
    if state.typing:
        return _typed(state, key)
    if state.helping:
        return replace(state, helping=False, over=key in ("q", "interrupt"))
    ways = (INSIDE if state.inside else {}), KEYS
    way = next((table[key] for table in ways if key in table), None)
    return way(state, shown) if way else state


def _typed(state: State, key: str) -> State:
    """A key of somebody who writes a filter."""
    text = state.order.filter
    if key == "interrupt":
        return replace(state, over=True)
    if key in ("enter", "tab"):
        return replace(state, typing=False)
    if key == "escape":
        return replace(state.ordered(filter=""), typing=False)
    if key == "backspace":
        text = text[:-1]
    elif len(key) == 1 and key.isprintable():
        text = (text + key)[:LONGEST_FILTER]
    return state.ordered(filter=text, offset=0)


def _to_tab(number: int) -> Way:
    return lambda state, _: replace(state, tab=TABS[number], inside="", scrolled=0)


def _by_tab(step: int) -> Way:
    def go(state: State, shown: Shown) -> State:
        return _to_tab((TABS.index(state.tab) + step) % len(TABS))(state, shown)

    return go


def _by_row(step: Callable[[Shown], int]) -> Way:
    def go(state: State, shown: Shown) -> State:
        if not shown.names:
            return state
        place = min(max(state.place(shown.names) + step(shown), 0), len(shown.names) - 1)
        offset = min(max(state.order.offset, place - shown.room + 1), place)
        return state.ordered(chosen=shown.names[place], offset=offset)

    return go


def _scroll(step: Callable[[Shown], int]) -> Way:
    def go(state: State, shown: Shown) -> State:
        return replace(state, scrolled=min(max(0, state.scrolled + step(shown)), shown.most))

    return go


def _by_column(step: int) -> Way:
    def go(state: State, _: Shown) -> State:
        known = heads(state.tab)
        place = (known.index(state.order.head) + step) % len(known)
        return state.ordered(head=known[place], turned=False, offset=0)

    return go


def _look_into(state: State, shown: Shown) -> State:
    if not shown.names:
        return state
    name = shown.names[state.place(shown.names)]
    return replace(state.ordered(chosen=name), inside=name, scrolled=0)


def _turn(state: State, _: Shown) -> State:
    return state.ordered(turned=not state.order.turned, offset=0)


def _leave(state: State, _: Shown) -> State:
    return replace(state, inside="", scrolled=0)


def _type(state: State, _: Shown) -> State:
    return replace(state, typing=True, inside="")


def _clear(state: State, _: Shown) -> State:
    return state.ordered(filter="", offset=0)


def _pause(state: State, _: Shown) -> State:
    return replace(state, paused=not state.paused)


def _help(state: State, _: Shown) -> State:
    return replace(state, helping=True)


def _quit(state: State, _: Shown) -> State:
    return replace(state, over=True)


_MOVES: dict[str, Callable[[Shown], int]] = {
    "up": lambda _: -1,
    "down": lambda _: 1,
    "pageup": lambda shown: -shown.room,
    "pagedown": lambda shown: shown.room,
    "home": lambda _: -1_000_000,
    "end": lambda _: 1_000_000,
}
_MOVES |= {"k": _MOVES["up"], "j": _MOVES["down"], "g": _MOVES["home"], "G": _MOVES["end"]}

KEYS: dict[str, Way] = {
    **{key: _by_row(step) for key, step in _MOVES.items()},
    **{str(number + 1): _to_tab(number) for number in range(len(TABS))},
    **dict.fromkeys(("tab", "right"), _by_tab(1)),
    **dict.fromkeys(("backtab", "left"), _by_tab(-1)),
    **dict.fromkeys(("s", "f6", ">"), _by_column(1)),
    **dict.fromkeys(("S", "<"), _by_column(-1)),
    **dict.fromkeys(("r", "I"), _turn),
    **dict.fromkeys(("?", "h", "f1"), _help),
    **dict.fromkeys(("/", "f4", "\\"), _type),
    **dict.fromkeys(("p", " "), _pause),
    **dict.fromkeys(("q", "f10", "interrupt"), _quit),
    "enter": _look_into,
    "escape": _clear,
}
"""What each key does; the letters and function keys are those of top, htop and less."""

INSIDE: dict[str, Way] = {
    **{key: _scroll(step) for key, step in _MOVES.items()},
    **dict.fromkeys(("escape", "enter", "backspace", "left"), _leave),
}
"""What keys do while one is looked into, if anything else."""

HELP = (
    ("Tab, 1 2 3, left right", "tasks, workers, queues"),
    ("up down, PgUp PgDn, Home End", "choose a row (also j k g G)"),
    ("Enter, then Esc", "look into it (its exceptions, what runs); back"),
    ("/ text Enter", "only what contains it; Esc: all again"),
    ("s S, F6, < >", "sort by the next column, or the one before"),
    ("r", "turn the order round"),
    ("p", "pause; nothing is missed meanwhile"),
    ("q", "quit"),
)
"""The keys, for people."""
