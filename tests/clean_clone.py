"""A copy of what a clean clone has of what is packaged, for tests that install it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = ("chatsvc", "templates", "static")
"""The folders that are packaged."""

_FILES = ("setup.cfg", "setup.py", "README.md", "LICENSE")
_NOT_THERE = shutil.ignore_patterns("__pycache__", "*.egg-info")


def clean_clone(folder: Path) -> Path:
    """Copy it into `folder`, which is not there yet, and return that."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=_NOT_THERE)
    for file in _FILES:
        shutil.copy(ROOT / file, folder)
    return folder
