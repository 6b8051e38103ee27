"""Keys: each changes what is shown as people expect of top, htop and less."""

from collections.abc import Iterable

import pytest

from celery_statsd.top.columns import NAME, heads
from celery_statsd.top.frame import Tab
from celery_statsd.top.state import HELP, KEYS, LONGEST_FILTER, Shown, State, press

NAMES = tuple(f"task{number:02}" for number in range(30))
SHOWN = Shown(NAMES, room=10, most=40)


def pressed(keys: Iterable[str], state: State | None = None, shown: Shown = SHOWN) -> State:
    """The state after these keys."""
    state = state or State()
    for key in keys:
        state = press(state, key, shown)
    return state


def test_at_first_the_tasks_are_shown_the_busiest_first() -> None:
    """Nothing is paused, filtered or looked into."""
    state = State()
    assert (Tab.TASKS, "in/s", False, "") == (
        state.tab, state.order.head, state.order.turned, state.order.filter,
    )  # fmt: skip
    assert {False, ""} == {state.over, state.paused, state.helping, state.typing, state.inside}
    assert 0 == state.place(NAMES)


@pytest.mark.parametrize(
    ("keys", "tab"),
    [
        ("tab", Tab.WORKERS), ("tab tab", Tab.QUEUES), ("tab tab tab", Tab.TASKS),
        ("backtab", Tab.QUEUES), ("right", Tab.WORKERS), ("left", Tab.QUEUES), ("2", Tab.WORKERS),
        ("3 1", Tab.TASKS),
    ],
)  # fmt: skip
def test_tables_are_gone_through(keys: str, tab: Tab) -> None:
    """By Tab, by arrows, by number; around the end."""
    assert tab is pressed(keys.split()).tab


@pytest.mark.parametrize(
    ("keys", "place", "offset"),
    [
        ("down", 1, 0), ("down down up", 1, 0), ("up", 0, 0), ("end", 29, 20), ("end down", 29, 20),
        ("pagedown", 10, 1), ("pagedown pagedown", 20, 11), ("end pageup", 19, 19),
        ("end home", 0, 0), ("j j k", 1, 0), ("G g", 0, 0), ("end up", 28, 20),
    ],
)  # fmt: skip
def test_a_row_is_chosen_and_stays_in_sight(keys: str, place: int, offset: int) -> None:
    """As many rows are scrolled away as must be."""
    state = pressed(keys.split())
    assert (NAMES[place], offset) == (state.order.chosen or NAMES[0], state.order.offset)
    assert state.place(NAMES) == place


def test_the_chosen_row_is_chosen_by_its_name() -> None:
    """Wherever it stands by then; one that is gone is the first."""
    state = pressed(["down", "down"])
    assert 27 == state.place(NAMES[::-1])
    assert 0 == state.place(("other",))
    assert "" == pressed(["down", "enter"], shown=Shown(())).inside


@pytest.mark.parametrize("key", ["s", "f6", ">"])
def test_sorting_goes_through_all_columns_and_the_name(key: str) -> None:
    """And comes back; the way is the usual one after each step."""
    state = State()
    seen = []
    for _ in heads(Tab.TASKS):
        state = pressed(["r", key], state)
        assert not state.order.turned
        seen.append(state.order.head)
    assert sorted(heads(Tab.TASKS)) == sorted(seen)
    assert State().order == state.order
    assert seen[-2] == pressed(["<"], state).order.head
    assert NAME in seen


def test_each_table_keeps_its_order() -> None:
    """What is asked of one is not asked of the others."""
    state = pressed(["r", *"/mail", "enter", "2"])
    assert (False, "") == (state.order.turned, state.order.filter)
    state = pressed(["1"], state)
    assert (True, "mail") == (state.order.turned, state.order.filter)


def test_a_filter_is_typed_with_every_key() -> None:
    """Letters that mean something else, too; Backspace takes one back, Enter keeps it."""
    state = pressed(["/", *"qps?", "backspace", "up", "f6"])
    assert (True, "qps", False) == (state.typing, state.order.filter, state.over)
    state = pressed(["enter"], state)
    assert (False, "qps") == (state.typing, state.order.filter)
    assert "" == pressed(["escape"], state).order.filter
    assert ("", False) == (
        (given_up := pressed([*"/abc", "escape"])).order.filter,
        given_up.typing,
    )
    assert LONGEST_FILTER == len(pressed(["/", *"x" * 500]).order.filter)
    assert pressed(["/", "a", "interrupt"]).over


def test_one_is_looked_into_and_left() -> None:
    """The keys that choose a row scroll there; Esc, Backspace, Enter and the left arrow go back."""
    inside = pressed(["down", "enter"])
    assert "task01" == inside.inside
    assert 2 == pressed(["down", "down", "down", "up"], inside).scrolled
    assert (40, 0) == (pressed(["end"], inside).scrolled, pressed(["end", "home"], inside).scrolled)
    for key in ("escape", "enter", "backspace", "left"):
        left = pressed([key], inside)
        assert ("", "task01", Tab.TASKS) == (left.inside, left.order.chosen, left.tab)
    assert ("", Tab.WORKERS) == ((away := pressed(["tab"], inside)).inside, away.tab)
    assert pressed(["q"], inside).over


def test_help_is_left_by_any_key() -> None:
    """Which does nothing else, unless it quits."""
    helped = pressed(["?"])
    assert helped.helping
    back = pressed(["tab"], helped)
    assert (False, Tab.TASKS) == (back.helping, back.tab)
    assert pressed(["q"], helped).over


@pytest.mark.parametrize("key", ["q", "f10", "interrupt"])
def test_it_ends(key: str) -> None:
    """By q, F10 and Ctrl-C."""
    assert pressed([key]).over


def test_it_pauses_and_goes_on() -> None:
    """By p or a blank."""
    assert pressed(["p"]).paused
    assert not pressed(["p", " "]).paused


@pytest.mark.parametrize("key", ["x", "resize", "f9", "\x00", "\u4e16", ""])
def test_a_key_that_means_nothing_changes_nothing(key: str) -> None:
    """Whatever it is."""
    assert State() == pressed([key])


def test_every_key_is_told() -> None:
    """In the help; but for second names of those that are."""
    told = " ".join(keys for keys, _ in HELP) + " j k g G"
    synonyms = {"f1", "h", "f4", "\\", "f10", "interrupt", " ", "I", "backtab", "?", "escape"}
    named = {"pageup": "PgUp", "pagedown": "PgDn", "f6": "F6"}
    for key in set(KEYS) - synonyms:
        assert named.get(key, key) in told or named.get(key, key.capitalize()) in told, key
