"""Tests that the files which set up the checks agree: setup.cfg, .ci/run, pre-commit, GitHub."""

from __future__ import annotations

import configparser
import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def _supported() -> list[str]:
    """Return the versions of Python that setup.cfg names, the oldest first."""
    return re.findall(r"Python :: (\d+\.\d+)", _setup()["metadata"]["classifiers"])


def _locked(file: str) -> list[tuple[Requirement, list[str]]]:
    """Return the requirements of a lock file, each with its hashes."""
    found = []
    for entry in re.split(r"\n(?=\S)", (ROOT / ".ci" / file).read_text().strip()):
        if not entry.startswith("#"):
            requirement, *hashes = re.split(r"\s*\\\n\s*", entry)
            found.append((Requirement(requirement), hashes))
    return found


def _holds(requirement: Requirement, python: str) -> bool:
    """Return whether a requirement holds on Linux with a version of Python."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "implementation_name": "cpython",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


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
    supported = _supported()
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


@pytest.mark.parametrize("python", _supported())
def test_the_lock_file_has_what_setup_cfg_asks_for(python: str) -> None:
    """Whoever changes setup.cfg has to write the lock file anew."""
    locked = {
        canonicalize_name(requirement.name): requirement.specifier
        for requirement, _ in _locked("requirements.lock")
        if _holds(requirement, python)
    }
    extras = _setup()["options.extras_require"]
    asked = "\n".join([_setup()["options"]["install_requires"], *extras.values()])
    for line in asked.splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if _holds(requirement, python):
            [pin] = locked[canonicalize_name(requirement.name)]
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version), requirement


@pytest.mark.parametrize("file", ["requirements.lock", "audit.lock"])
def test_a_lock_file_has_hashes_and_names_no_host(file: str) -> None:
    locked = _locked(file)
    assert len(locked) > 20
    for requirement, hashes in locked:
        assert [pin.operator for pin in requirement.specifier] == ["=="]
        assert requirement.url is None
        assert hashes
        for each in hashes:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each)


def test_the_script_installs_what_is_locked_and_nothing_else() -> None:
    installs = re.findall(r"^pip (.*)$", CI, re.MULTILINE)
    assert installs == [
        "--no-deps --require-hashes -r .ci/requirements.lock",
        "--no-deps --no-build-isolation --use-pep517 -e .",
    ]


def test_the_audit_runs_by_itself_for_the_oldest_and_the_newest_python() -> None:
    require("bash")
    workflow = _yaml(".github/workflows/audit.yml")
    [job] = workflow["jobs"].values()
    supported = _supported()
    assert job["strategy"]["matrix"]["python"] == [supported[0], supported[-1]]
    assert job["steps"][-1] == {"run": ".ci/audit"}
    for script in ("audit", "lock"):
        file = ROOT / ".ci" / script
        assert file.stat().st_mode & 0o100
        subprocess.run(["bash", "-n", file], check=True)
        assert all(
            lock in file.read_text() for lock in ("requirements.lock", "audit.lock")
        )
