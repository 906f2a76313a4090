"""The page's modules on their own: their unit tests under node, and their types."""

import subprocess
from pathlib import Path

from tests.conftest import require

HERE = Path(__file__).parent


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
