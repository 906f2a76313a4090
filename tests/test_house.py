"""The plan in the docstring of `chatsvc` holds: who imports whom, how long a module is, what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chatsvc

ROOT = Path(chatsvc.__file__).parent
STATIC = ROOT.parent / "static"

LONGEST_MODULE = 330
"""Lines: what a reader can hold in the head."""

FLOORS = (
    {
        "problem",
        "problems",
        "model",
        "units",
        "cursor",
        "graphemes",
        "ticker",
        "eventstream",
        "settings",
        "setting_formats",
        "host_names",
        "named_functions",
        "client_limits",
        "machine_memory",
        "memory_budget",
        "kept_prompt",
    }
    | {"retry_after", "exit_status", "proxies", "tracebacks", "service_manager"},
    {"segment", "side"},
    {"log"},
    {"backends", "stores"},
    {"replies"},
    {"requests", "rendering", "users"},
    {"transports", "tracing"},
    {"web"},
    {"app"},
    {"listening"},
    {"hangup"},
    {"serve"},
    {"workers"},
    {"client", "deploy"},
    {"flags"},
    {"cli"},
    {"__init__", "__main__"},
)
"""The rooms and modules, from the bottom to the top. A room may import what stands on a lower floor."""

NEIGHBOURS = {
    ("problems", "problem"),
    ("cursor", "problems"),
    ("client_limits", "problems"),
    ("memory_budget", "problems"),
    ("kept_prompt", "model"),
    ("settings", "setting_formats"),
    ("setting_formats", "host_names"),
    ("setting_formats", "named_functions"),
    ("proxies", "host_names"),
    ("client", "client"),
}
"""Imports on one floor."""

BOTTOM_ONLY = {"client", "rendering", "requests", "users"}
"""Rooms that import the lowest floor alone."""


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """The modules of chatsvc that a module imports, for type checking, within functions and lazily, too."""
    known = {name_of(module) for module in modules()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "chatsvc")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            if module.split(".")[0] != "chatsvc":
                continue
            for alias in node.names:
                full = f"{module}.{alias.name}"
                yield full if full in known else module


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor_of(room: str) -> int:
    [floor] = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    return floor


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_run_down(path: Path) -> None:
    room = room_of(name_of(path)) if path.parent != ROOT else path.stem
    for module in imported(path):
        target = room_of(module)
        if target == room or target == "__init__":
            continue
        down = floor_of(target) < floor_of(room)
        assert down or (room, target) in NEIGHBOURS, f"{name_of(path)} imports {module}"
        if room in BOTTOM_ONLY:
            assert floor_of(target) == 0, f"{name_of(path)} imports {module}"


def test_no_circle() -> None:
    graph = {name_of(path): set(imported(path)) for path in modules()}
    # The package's own names are looked up when they are asked for, so its docstring's plan costs no import.
    graph["chatsvc"] = set()
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' → '.join((*way, module))}"
        if module not in done:
            for target in graph[module]:
                visit(target, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    "path", [*modules(), *sorted(STATIC.rglob("*.js"))], ids=lambda path: path.name
)
def test_a_module_can_be_held_in_the_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def test_public_names_are_there() -> None:
    for name in chatsvc.__all__:
        assert getattr(chatsvc, name).__doc__, f"{name} has no docstring"
    assert set(chatsvc.__all__) <= set(dir(chatsvc))


def test_public_names_cost_nothing_until_they_are_used() -> None:
    program = "import sys, chatsvc; print('aiohttp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert done.stdout == "False\n"


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        getattr(chatsvc, "nothing")  # noqa: B009


@pytest.mark.parametrize(
    "path", [p for p in modules() if p.name == "__init__.py"], ids=name_of
)
def test_each_room_has_its_map(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    for module in path.parent.glob("*.py"):
        if path.parent != ROOT and not module.stem.startswith("__"):
            assert module.stem in docstring, f"{name_of(path)} does not map {module}"
