"""The templates of pages, and the folders of the package's data."""

from __future__ import annotations

from pathlib import Path

import jinja2


def data_folder(name: str) -> Path:
    """Return a folder of data: inside the package when it is installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(data_folder("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)
"""The environment of the pages that have no translations: `problem.html` and `reply.html`."""
