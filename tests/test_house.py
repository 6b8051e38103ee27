"""The laws of the house: what may import what, through which door, and how long a thing may be."""

import ast
import importlib
import inspect
import statistics
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from celery_statsd.sinks import SINKS
from celery_statsd.sinks.base import Sink
from celery_statsd.source import SOURCES
from celery_statsd.source.base import Source

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "celery_statsd"

FLOORS = (
    ("__main__",),
    ("cli",),
    ("alerts", "recorder"),
    ("demo", "check", "camera", "inprocess", "watch", "catalogue", "systemd", "dashboards"),
    ("muster", "top"),
    ("lengths",),
    ("agent",),
    ("health",),
    ("speaker",),
    ("vitals",),
    ("lookout",),
    ("intake", "understudy", "blueprint"),
    ("survey",),
    ("interview",),
    ("chronicle", "replay", "outlet", "turnstile"),
    ("pipeline",),
    ("sluice", "standing"),
    ("passages", "scribe"),
    ("suspects",),
    ("passage",),
    ("lanes",),
    ("rules",),
    ("tracker",),
    ("endings", "queues"),
    ("task",),
    ("roster",),
    ("*",),  # the rest, which may use each other
    ("metric", "errors", "__init__"),
)
"""From the top down: each imports from floors below its own."""

DOORS = {
    "click": ("cli.*",),
    "yaml": ("config", "document"),
    "statsd": ("sinks.wire",),
    "celery": ("source.*", "demo.*", "camera", "inprocess"),  # the last two live inside of Celery
    "kombu": ("source.*", "probes.*", "check.*", "demo.*"),
    "amqp": ("source.*", "probes.*", "demo.*"),
    "redis": ("source.*", "probes.*", "check.*", "demo.*"),
    "msgspec": ("*",),
}
"""Each dependency, and the modules that may import it."""

HEART = (
    "events", "choice", "task", "tracker", "endings", "queues", "life", "accounts", "roster",
    "clocks", "crew", "findings", "probes.base", "rules.*", "lanes", "passage", "passages",
    "suspects", "aggregator", "scribe", "names", "ledger", "metric", "pipeline", "scope", "sluice",
    "standing", "trends", "alerts.rule", "alerts.judgement",
)  # fmt: skip
"""What has no thread, socket or clock in it."""

OUTSIDE = {
    "asyncio", "http", "io", "multiprocessing", "os", "pathlib", "queue", "select", "selectors",
    "signal", "socket", "ssl", "subprocess", "sys", "threading", "time", "uuid",
}  # fmt: skip
"""What of the standard library the heart must not see."""

LONGEST_FILE, LONGEST_FUNCTION, MEDIAN_FUNCTION = 400, 60, 8
"""Lines."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """One file of the package: its dotted name below the package, its source, its tree."""

    name: str
    source: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        """The module or package at the top of the house that it belongs to."""
        return self.name.partition(".")[0]

    @property
    def imports(self) -> set[str]:
        """All that it imports, as dotted names (of the package: below it)."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: a relative import"
                found |= {_imported(node.module or "", alias.name) for alias in node.names}
        return found

    @property
    def inner(self) -> set[str]:
        """What of the package it imports, but itself."""
        below = {name.removeprefix("celery_statsd.") for name in self.imports if _is_ours(name)}
        return below - {self.name}

    @property
    def functions(self) -> Iterator[Function]:
        """All functions and methods in it."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def within(self, patterns: tuple[str, ...]) -> bool:
        """Whether its name fits one of `patterns`: a name, or a package's `name.*`."""
        return any(
            pattern in ("*", self.name) or (pattern[-2:] == ".*" and self.unit == pattern[:-2])
            for pattern in patterns
        )


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "celery_statsd"


def _imported(module: str, name: str) -> str:
    """What `from module import name` imports: a module of ours when it is one."""
    if module == "celery_statsd" and not (PACKAGE / f"{name}.py").exists():
        return f"{module}.{name}" if (PACKAGE / name).is_dir() else f"{module}.__init__"
    inner = f"{module}.{name}"
    path = ROOT / Path(*inner.split("."))
    return inner if _is_ours(module) and path.with_suffix(".py").exists() else module


def _modules() -> Iterator[Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)
        source = path.read_text(encoding="utf-8")
        yield Module(name, source, ast.parse(source))


MODULES = tuple(_modules())
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
each_of_the_heart = pytest.mark.parametrize(
    "module", [m for m in MODULES if m.within(HEART)], ids=lambda module: module.name
)


def floor(unit: str) -> int:
    """The number of a unit's floor, from the top."""
    return next((n for n, units in enumerate(FLOORS) if unit in units), FLOORS.index(("*",)))


@each_module
def test_imports_go_down(module: Module) -> None:
    """Nothing is imported from above or, but among the rest and within a package, from beside."""
    mine = floor(module.unit)
    others = {name for name in module.inner if name.partition(".")[0] != module.unit}
    depth = mine - 1 if FLOORS[mine] == ("*",) else mine
    assert set() == {name for name in others if floor(name.partition(".")[0]) <= depth}


def test_there_is_no_circle() -> None:
    """Each module can be read before those that use it."""
    graph = {module.name: module.inner for module in MODULES}
    order = list(TopologicalSorter(graph).static_order())
    assert set(graph) <= set(order)


@each_module
def test_nothing_is_imported_inside_a_function(module: Module) -> None:
    """Imports stand at the top, where they are seen."""
    inside = [
        ast.unparse(node)
        for function in module.functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert [] == inside


@each_module
def test_each_dependency_has_its_door(module: Module) -> None:
    """What is not the standard library's or ours is imported where the table says."""
    roots = {name.partition(".")[0] for name in module.imports}
    foreign = roots - set(sys.stdlib_module_names) - {"celery_statsd"}
    assert set() == {name for name in foreign if not module.within(DOORS.get(name, ()))}


@each_of_the_heart
def test_the_heart_imports_nothing_that_acts(module: Module) -> None:
    """The standard library and msgspec alone, and of the former nothing that reads a clock, waits,
    or touches the world."""
    roots = {name.partition(".")[0] for name in module.imports} - {"celery_statsd", "msgspec"}
    assert set() == roots - set(sys.stdlib_module_names)
    assert set() == roots & OUTSIDE
    ours = [m for m in MODULES if m.name in module.inner]
    assert [] == [m.name for m in ours if not m.within((*HEART, "errors"))]


@each_of_the_heart
def test_the_heart_reads_no_clock_and_throws_no_dice(module: Module) -> None:
    """No `now`, and no randomness without a seed: a recorded stream gives the same twice."""
    uses = [
        node for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]  # fmt: skip
    clocks = {"now", "utcnow", "today"}
    assert [] == [n for n in uses if n.value.id in ("datetime", "date") and n.attr in clocks]
    assert [] == [n.attr for n in uses if n.value.id == "random" and n.attr != "Random"]
    seeded = [n for n in ast.walk(module.tree) if isinstance(n, ast.Call)]
    assert all(n.args for n in seeded if ast.unparse(n.func) == "random.Random")


@each_module
def test_each_module_has_its_tests(module: Module) -> None:
    """`tests/` mirrors the package; a package's own file is tested by `test_init`."""
    parts = module.name.split(".")
    if (PACKAGE / Path(*parts)).is_dir():
        parts.append("init")
    if parts not in (["__init__"], ["__main__"]):
        path = ROOT.joinpath("tests", *parts[:-1], f"test_{parts[-1]}.py")
        assert path.exists(), path


def test_each_package_travels_in_the_wheel() -> None:
    """What is not in the list of pyproject.toml is there in a checkout, and nowhere else."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert found == {name for name in listed if ".shipped." not in name}


@each_module
def test_a_file_is_not_too_long(module: Module) -> None:
    """What does not fit is two things."""
    assert LONGEST_FILE >= module.source.count("\n")


@each_module
def test_a_function_is_not_too_long(module: Module) -> None:
    """The longest of all; most are far shorter."""
    assert [] == [f.name for f in module.functions if _length(f) > LONGEST_FUNCTION]


def test_most_functions_are_short() -> None:
    """Their median."""
    assert MEDIAN_FUNCTION >= statistics.median(_length(f) for m in MODULES for f in m.functions)


def _length(function: Function) -> int:
    """Lines of a function, from its name to its end."""
    return (function.end_lineno or 0) - function.lineno + 1


@each_module
def test_every_public_thing_is_explained(module: Module) -> None:
    """Modules, classes, functions and methods that others may use have a docstring; a method may
    leave it to the one it overrides."""
    loaded = importlib.import_module(f"celery_statsd.{module.name}".removesuffix(".__init__"))
    assert ast.get_docstring(module.tree)
    assert [] == [name for name, thing in _public(module.tree, loaded) if not inspect.getdoc(thing)]


def _public(node: ast.Module | ast.ClassDef, thing: object) -> Iterator[tuple[str, object]]:
    """What is public in `node`, which was loaded as `thing`; inside a function nothing is."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | Function) and child.name[0] != "_":
            inner = inspect.getattr_static(thing, child.name)
            yield child.name, getattr(thing, child.name) if isinstance(thing, type) else inner
            if isinstance(child, ast.ClassDef):
                yield from _public(child, inner)


def _leaves(package: str, base: type) -> set[type]:
    """The public classes of a package's modules that can be made and derive from `base`."""
    names = [module.name for module in MODULES if module.name.startswith(f"{package}.")]
    found = set()
    for name in names:
        loaded = importlib.import_module(f"celery_statsd.{name}")
        for _, kind in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(kind, base) and not inspect.isabstract(kind) and kind.__name__[0] != "_":
                found.add(kind)
    return found


def test_every_sink_has_a_scheme() -> None:
    """A sink that stands in no table would never be used."""
    assert _leaves("sinks", Sink) == set(SINKS.values())


def test_every_source_has_a_transport() -> None:
    """A source that stands in no table would never be used."""
    named = {f"{kind.__module__}:{kind.__name__}" for kind in _leaves("source", Source)}
    assert named == set(SOURCES.values())
