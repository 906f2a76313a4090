"""The templates of files, and how a word is written in the format of each."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path

import jinja2


def systemd_word(text: str) -> str:
    r"""Return a word of a command line as units of systemd have it (systemd.service(5)).

    `%` begins a specifier there, `$` a variable and `\` an escape.
    """
    return systemd_item(text).replace("$", "$$")


def systemd_item(text: str) -> str:
    r"""Return an item of a list in a unit, or the program of a command line, where `$` is itself."""
    text = systemd_line(text.replace("\\", "\\\\"))
    if re.fullmatch(r"[\w@%+=:,./$-]+", text):
        return text
    text = text.replace('"', '\\"')
    # A line ends at some of these, and none is seen.
    text = re.sub(r"[\x01-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)
    return f'"{text}"'


def systemd_line(text: str) -> str:
    """Return a text that is all of a line in a unit, where quotes and spaces are themselves."""
    return text.replace("%", "%%")


def yaml_string(text: str) -> str:
    """Return a text as a double-quoted scalar of YAML 1.2, which is JSON but for control characters."""
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(
        "[\x7f-\x9f\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", quoted
    )


def compose_string(text: str) -> str:
    """Return a text as a string in a compose file, where `$` begins a variable."""
    return yaml_string(text.replace("$", "$$"))


@cache
def _environment() -> jinja2.Environment:
    # The files themselves are full of braces.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="<#",
        comment_end_string="#>",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # none of the files is HTML
    )
    environment.filters["shell"] = shlex.quote
    environment.filters["systemd"] = systemd_word
    environment.filters["systemd_item"] = systemd_item
    environment.filters["systemd_line"] = systemd_line
    environment.filters["yaml"] = yaml_string
    environment.filters["compose"] = compose_string
    return environment


def render(name: str, **values: object) -> str:
    """Return the file that the template `name` makes of `values`."""
    return _environment().get_template(name).render(values)
