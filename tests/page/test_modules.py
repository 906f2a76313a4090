"""The page's modules on their own: their unit tests under node, their types, and their imports."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "static"
MODULES = {
    str(path.relative_to(STATIC).with_suffix("")): path.read_text()
    for path in STATIC.rglob("*.js")
}
"""The sources of the page's modules, by their paths without `.js`."""

SHARED = {
    f"transports/{name}" for name in ("transport", "http", "snapshot", "stream-events")
}
"""What stands beside the transports for all of them to use."""

DOM = (
    "document window navigator location history localStorage sessionStorage matchMedia "
    "getSelection getComputedStyle ResizeObserver DOMParser requestAnimationFrame Text "
    "HTML\\w* addEventListener"
)
NETWORK = "fetch WebSocket EventSource XMLHttpRequest"
CLOCK = "Date performance setTimeout setInterval Math\\.random crypto"
FORBIDDEN = {
    "DOM": "",
    "network": DOM,
    "logic": f"{DOM} {NETWORK}",
    "pure": f"{DOM} {NETWORK} {CLOCK}",
}
"""The browser's names that a module may not use, by its kind in the map."""


def read_map() -> list[tuple[str, set[str]]]:
    """Return the map in the head comment of `main.js`, from the bottom: the kind and the modules of each line."""
    lines = []
    for names, kind in re.findall(
        r"^ \* {5}(.+?) +\| (\w+) +\|", MODULES["main"], re.MULTILINE
    ):
        expanded = re.sub(
            r"(\S+)\{(.+?)\}",
            lambda m: " ".join(m[1] + name for name in m[2].split(",")),
            names,
        )
        lines.append((kind, set(expanded.split())))
    return lines[::-1]


def imports_of(module: str) -> set[str]:
    """Return the modules that a module imports, for their values or for their types."""
    folder = (STATIC / module).parent
    found = re.findall(r"(?:from |import\()'(\.[^']+)\.js'", MODULES[module])
    return {str((folder / path).resolve().relative_to(STATIC)) for path in found}


def code_of(module: str) -> str:
    """Return the source of a module without its comments."""
    return re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", MODULES[module], flags=re.DOTALL)


def test_the_unit_tests_pass_under_node() -> None:
    require("node")
    done = subprocess.run(
        ["node", "--test", *sorted(map(str, (HERE / "unit").glob("*.test.js")))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def test_the_types_are_right(npm: Path) -> None:
    done = subprocess.run(
        [str(npm / ".bin" / "tsc"), "--project", str(HERE / "tsconfig.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_map_has_every_module_once() -> None:
    mapped = [module for _, modules in read_map() for module in modules]
    assert sorted(mapped) == sorted(MODULES)


def test_every_import_leads_down_the_map_so_there_is_no_circle() -> None:
    below: set[str] = set()
    for _, modules in read_map():
        for module in modules:
            assert imports_of(module) <= below, module
        below |= modules
    assert imports_of("chat") >= {"follow", "conversation", "transports/transport"}


def test_a_transport_imports_no_other_and_only_parsers_of_the_rest() -> None:
    allowed = SHARED | {
        "rendered-blocks",
        "event-stream",
        "position",
        "problems",
        "units",
    }
    for module in MODULES:
        if module.startswith("transports/") and module != "transports/index":
            assert imports_of(module) <= allowed, module


@pytest.mark.parametrize(
    ("kind", "module"),
    [(kind, module) for kind, modules in read_map() for module in sorted(modules)],
)
def test_a_module_touches_no_more_than_the_map_says(kind: str, module: str) -> None:
    names = FORBIDDEN[kind].split()
    if names:
        used = re.findall(
            rf"(?<![.\w'])(?:{'|'.join(names)})\b(?!['\w:])", code_of(module)
        )
        assert used == []


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    long = {module for module, source in MODULES.items() if source.count("\n") > 330}
    assert long == set()
