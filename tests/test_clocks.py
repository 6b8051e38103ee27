"""How far the hosts' clocks stand apart, told from arrivals alone."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.clocks import BACKLOG, GENERATION, GLANCE, MOST_HOSTS, NOISE, Clocks, host_of
from tests.bodies import NOON, patiently

HOUR = 3600.0


def observed(**lags: tuple[float, ...]) -> Clocks:
    """Clocks that have heard each host with these lags (seconds)."""
    clocks = Clocks()
    for host, its in lags.items():
        for lag in its:
            clocks.observe(host, NOON - lag, NOON)
    return clocks


def test_the_smallest_lag_is_the_clock() -> None:
    """Batching and busy hosts only make events later, never earlier."""
    clocks = observed(web=(0.5, 0.002, 3.0), app=(0.004,))
    assert 0.002 == round(clocks.lag("web"), 6)
    assert None is clocks.lag("db")


def test_a_clock_that_is_an_hour_off_is_corrected() -> None:
    """Its times, an hour behind, are put beside another host's by adding the difference."""
    clocks = observed(web=(HOUR + 0.01,), app=(0.01,))
    assert HOUR == clocks.apart("web", "app") == -clocks.apart("app", "web")


def test_a_clock_ahead_is_corrected() -> None:
    """Events that seem to come from the future have a negative lag."""
    clocks = observed(web=(-HOUR,), app=(0.0,))
    assert -HOUR == clocks.apart("web", "app")


def test_what_is_below_the_noise_is_left() -> None:
    """So small a difference may be batching; one just above it is none."""
    assert 0.0 == observed(web=(NOISE,), app=(0.0,)).apart("web", "app")
    assert NOISE + 0.1 == round(observed(web=(NOISE + 0.1,), app=(0.0,)).apart("web", "app"), 3)


def test_one_host_is_never_apart_from_itself() -> None:
    """Whatever its lag."""
    assert 0.0 == observed(web=(HOUR,)).apart("web", "web")


def test_an_unheard_host_is_left() -> None:
    """Nothing is known of it."""
    assert 0.0 == observed(web=(HOUR,)).apart("web", "app") == observed().apart("web", "app")


def test_a_backlog_tells_nothing_of_clocks() -> None:
    """While even the quickest host lags, the stream is late: the first host of a backlog looks
    like one whose clock is behind."""
    assert 0.0 == observed(web=(600.0,), app=(BACKLOG + 1,)).apart("web", "app")
    assert 600.0 - BACKLOG == observed(web=(600.0,), app=(BACKLOG,)).apart("web", "app")


def test_a_lag_is_forgotten_after_two_generations() -> None:
    """A clock that was set right is believed again; one generation later it still counts."""
    clocks = Clocks()
    clocks.observe("app", NOON, NOON)
    clocks.observe("web", NOON - HOUR, NOON + 1)
    for step in (1, 2):
        arrival = NOON + step * (GENERATION + 2)
        clocks.observe("web", arrival - HOUR - 5, arrival)
    assert HOUR + 5 == clocks.lag("web")
    assert None is clocks.lag("app")


def test_memory_of_hosts_is_bounded() -> None:
    """A flood of names ends a generation early."""
    clocks = Clocks()
    for number in range(3 * MOST_HOSTS):
        clocks.observe(f"host{number}", NOON, NOON)
    known = sum(clocks.lag(f"host{number}") is not None for number in range(3 * MOST_HOSTS))
    assert MOST_HOSTS <= known <= 2 * (MOST_HOSTS + 1)


@patiently
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(-9e3, 9e3)), min_size=1))
def test_apart_is_antisymmetric(heard: list[tuple[str, float]]) -> None:
    """What is added to one host's times is what the other's would be reduced by."""
    clocks = Clocks()
    for host, lag in heard:
        clocks.observe(host, NOON - lag, NOON)
    assert clocks.apart("a", "b") == -clocks.apart("b", "a")


def test_the_host_of_a_node_name() -> None:
    """What stands behind the last @; a name without one is a host."""
    assert ["web1", "web1", "b", ""] == [host_of(n) for n in ("w@web1", "web1", "a@x@b", "w@")]


@patiently
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(-3, 3), st.floats(0, 100)),
        min_size=1,
        max_size=30,
    )
)
def test_clocks_compared_at_a_glance_are_compared_rightly(heard: list[tuple[str, float, float]]):
    """Whenever it is asked, and whatever came since: as the smallest lags of each say."""
    clocks, now = Clocks(), NOON
    for host, lag, pause in heard:
        now += pause
        clocks.observe(host, now - lag, now)
        for one, other in product("abc", repeat=2):
            mine, theirs = clocks.lag(one), clocks.lag(other)
            apart = 0.0 if mine is None or theirs is None else mine - theirs
            assert (apart if abs(apart) > NOISE else 0.0) == clocks.apart(one, other)


def test_many_hosts_are_not_compared_at_a_glance() -> None:
    """More than GLANCE of them are compared two by two."""
    clocks = observed(**{f"h{number}": (0.0,) for number in range(GLANCE)})
    assert 0.0 == clocks.apart("h0", "h1")
    clocks.observe("late", NOON - HOUR, NOON)
    assert HOUR == clocks.apart("late", "h1")
    assert 0.0 == clocks.apart("h0", "h1")


def test_a_node_name_has_one_host() -> None:
    """The same text each time, observed each time; only so many names are remembered."""
    clocks = Clocks()
    first = clocks.hear("celery@web1", NOON - 5, NOON)
    assert "web1" == first is clocks.hear("celery@web1", NOON - 3, NOON)
    assert 3.0 == clocks.lag("web1")
    for number in range(MOST_HOSTS + 1):
        clocks.hear(f"gen{number}@web1", NOON, NOON)
    assert MOST_HOSTS >= len(clocks._hosts)
