"""Tests that the files which set up the checks agree: setup.cfg, .ci/run, pre-commit, GitHub."""

from __future__ import annotations

import configparser
import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

from .conftest import require, require_module

ROOT = Path(__file__).parent.parent
CI = (ROOT / ".ci" / "run").read_text()
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text()


def _yaml(file: str) -> Any:
    """Return the content of a YAML file; skip the test where PyYAML is not installed."""
    require_module("yaml")
    return importlib.import_module("yaml").safe_load((ROOT / file).read_text())


def _setup() -> configparser.ConfigParser:
    """Return setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def _pinned(requirements: str) -> dict[str, str]:
    """Return the version of each requirement that is pinned by `==`."""
    return dict(re.findall(r"^([\w-]+) *== *([\w.]+)$", requirements, re.MULTILINE))


def test_pre_commit_has_the_versions_of_the_other_checks() -> None:
    lint = _pinned(_setup()["options.extras_require"]["lint"])
    assert lint.keys() == {"mypy", "ruff"}
    repositories = {
        r["repo"].rpartition("/")[2]: r
        for r in _yaml(".pre-commit-config.yaml")["repos"]
    }
    assert repositories["ruff-pre-commit"]["rev"] == f"v{lint['ruff']}"
    local = {hook["id"]: hook for hook in repositories["local"]["hooks"]}
    assert local["mypy"]["entry"] == ".venv/bin/mypy"
    [typescript] = local["tsc"]["additional_dependencies"]
    assert f" {typescript} " in CI


def test_the_workflow_runs_the_same_script_on_every_supported_python() -> None:
    [job] = _yaml(".github/workflows/ci.yml")["jobs"].values()
    supported = re.findall(r"Python :: (\d+\.\d+)", _setup()["metadata"]["classifiers"])
    assert job["strategy"]["matrix"]["python"] == supported
    assert _setup()["options"]["python_requires"] == f">={supported[0]}"
    [run] = [step for step in job["steps"] if "run" in step]
    assert run["run"] == ".ci/run"
    assert run["env"]["PYTHON"] == "python${{ matrix.python }}"
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_the_script_is_sound_bash() -> None:
    require("bash")
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    assert "python=${PYTHON:-python3}" in CI


def test_contributing_names_the_one_command_and_files_that_exist() -> None:
    assert "\n.ci/run\n" in CONTRIBUTING
    files = re.findall(
        r"`((?:chatsvc|static|tests|\.ci|\.github)/[\w./-]*)`", CONTRIBUTING
    )
    assert files
    for file in files:
        assert (ROOT / file).exists(), f"CONTRIBUTING.md names {file}"
