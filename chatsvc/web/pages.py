"""The chat page and its files: `GET /` and `GET /static/…` (PROTOCOL.md section 2).

Every URL that the page uses is relative to its own, so it works under any prefix that the
application is mounted below. The files are read once, when the application is made. A folder named
by a digest of them all is part of their URLs: a browser may keep them for a year, and modules can
import their neighbours by plain relative names. The style sheet stands in the page itself: its text
is painted as soon as the page is there, without another request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web
from babel import Locale, negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from markupsafe import Markup

from chatsvc.requests.values import BODY_FACTOR
from chatsvc.settings import Settings
from chatsvc.transports.templates import data_folder
from chatsvc.web.accent import accent_rules
from chatsvc.web.app_keys import identity_of
from chatsvc.web.negotiation import accepted_languages, accepts_gzip, cookie
from chatsvc.web.security import FILE_HEADERS, page_headers
from chatsvc.web.starters import Starters, offered, read_starters

LANGUAGE_COOKIE = "chatsvc_language"
"""The name of the cookie in which the page's selector keeps the reader's choice of language."""

SOURCE_LANGUAGE = "en"
"""The language in which the page's sentences are written; it needs no catalog."""


ICON_COLOUR = b"#2f6f62"
"""The colour of the page's icon, in whose place an operator's accent is put as it is."""


@dataclass(frozen=True)
class StaticFile:
    """A file of the page in memory: its bytes, plain and compressed."""

    content_type: str
    plain: bytes
    gzipped: bytes


@dataclass(frozen=True)
class InlineStyle:
    """A style sheet as it stands in a page: its text, and the headers of a page that has it."""

    text: Markup
    page_headers: dict[str, str]


FILES = web.AppKey("FILES", dict[str, StaticFile])
"""The key of the page's files, by their paths below `static`."""

DIGEST = web.AppKey("DIGEST", str)
"""The key of the digest of all files (16 hexadecimal digits), which is a part of their URLs."""

STYLE = web.AppKey("STYLE", InlineStyle)
"""The key of the style sheets of all pages, as one."""

TRANSLATIONS = web.AppKey("TRANSLATIONS", dict[str, NullTranslations])
"""The key of the page's translations, by their BCP 47 code."""

MESSAGE_LIMIT = web.AppKey("MESSAGE_LIMIT", int)
"""The key of the limit of a message (bytes of UTF-8)."""

TITLE = web.AppKey("TITLE", str)
"""The key of the page's name."""

STARTERS = web.AppKey("STARTERS", Starters)
"""The key of the questions that the page offers."""


def add_pages(app: web.Application, settings: Settings) -> None:
    """Add `GET /` and the page's files to an application.

    The page keeps its messages below `settings.max_message`, and their conversation below what a
    body may have. `settings.title`, `accent` and `starters` are its look.

    Raises `BadSetting` for a file of starters that can't be used.
    """
    files = _read_files(data_folder("static"), settings.accent)
    app[FILES] = files
    app[DIGEST] = _digest(files)
    sheets = (files["chat.css"].plain, files["rendered.css"].plain)
    app[STYLE] = _inline_style(b"".join(sheets))
    translations = _read_catalogs(Path(__file__).parent / "catalogs")
    app[TRANSLATIONS] = translations
    app[MESSAGE_LIMIT] = settings.max_message
    app[TITLE] = settings.title
    app[STARTERS] = read_starters(settings.starters, translations)
    aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(data_folder("templates")),
        extensions=["jinja2.ext.i18n"],
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    app.router.add_get("/", _page)
    app.router.add_get("/static/{digest}/{name:.+}", _file)


async def _page(request: web.Request) -> web.Response:
    app, identity = request.app, identity_of(request)
    context: dict[str, Any] = {
        "limits": {
            "message": app[MESSAGE_LIMIT],
            # A little room for what the request carries beside the messages.
            "body": app[MESSAGE_LIMIT] * BODY_FACTOR - 1024,
        },
        "modules": sorted(
            name for name in app[FILES] if name.endswith(".js") and name != "main.js"
        ),
        "user": identity.user,
        "signed_in": bool(identity.key),
        "starters": offered(app[STARTERS], page_language(request)),
    }
    response = render_page(request, "chat.html", context)
    if not identity.user:
        # That of a user is kept nowhere, so that it does not come back once they have signed out.
        response.headers["Cache-Control"] = "no-cache"
    return response


def render_page(
    request: web.Request, template: str, context: dict[str, Any]
) -> web.Response:
    """Return a page in the language that its reader wants, with the headers of `page_headers`.

    `context` holds what the template needs beside what every page has.
    """
    app = request.app
    translations = app[TRANSLATIONS]
    language = page_language(request)
    locale = Locale.parse(language, sep="-")
    chosen = translations[language]

    def static(name: str) -> str:
        return f"static/{app[DIGEST]}/{name}"

    common: dict[str, Any] = {
        "title": app[TITLE],
        "language": language,
        "direction": locale.text_direction,
        "languages": {code: _own_name(code) for code in translations},
        "static": static,
        "style": app[STYLE].text,
        "_": chosen.gettext,
        "gettext": chosen.gettext,
        "ngettext": chosen.ngettext,
    }
    response = aiohttp_jinja2.render_template(template, request, common | context)
    response.headers.update(app[STYLE].page_headers)
    response.headers["Content-Language"] = language
    response.headers["Vary"] = "Accept-Encoding, Accept-Language, Cookie"
    response.enable_compression()
    return response


async def _file(request: web.Request) -> web.Response:
    try:
        file = request.app[FILES][request.match_info["name"]]
    except KeyError:
        raise web.HTTPNotFound from None
    # While nodes of two versions serve side by side, one may be asked for the other's files: it
    # gives its own, but no browser may keep them under that name.
    current = request.match_info["digest"] == request.app[DIGEST]
    headers = {
        "Content-Type": file.content_type,
        "Cache-Control": "public, max-age=31536000, immutable"
        if current
        else "no-store",
        "Vary": "Accept-Encoding",
        **FILE_HEADERS,
    }
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=file.gzipped, headers=headers)
    return web.Response(body=file.plain, headers=headers)


def page_language(request: web.Request) -> str:
    """Return the language of the cookie, else the best that the browser accepts, else English.

    It is the BCP 47 code of one that the page has.
    """
    translations = request.app[TRANSLATIONS]
    known = list(translations)
    chosen = cookie(request.headers.get("Cookie", ""), LANGUAGE_COOKIE)
    if chosen in known:
        return chosen
    wanted = accepted_languages(request.headers.get("Accept-Language", ""))
    return negotiate_locale(wanted, known, sep="-") or SOURCE_LANGUAGE


def _own_name(code: str) -> str:
    """Return a language's name in that language, as its speakers look for it."""
    locale = Locale.parse(code, sep="-")
    return locale.get_display_name(locale) or code


def _read_files(folder: Path, accent: str) -> dict[str, StaticFile]:
    """Return the files of the page, with the operator's `accent` if there is one."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".js", ".css", ".svg"}:
            continue
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if path.suffix == ".js":
            # The system's table may have another type, and a module of another type does not run
            # [WHATWG].
            kind = "text/javascript"
        plain = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        if accent and name == "chat.css":
            plain += accent_rules(accent).encode()
        if accent and name == "icon.svg":
            plain = plain.replace(ICON_COLOUR, accent.encode())
        files[name] = StaticFile(
            f"{kind}; charset=utf-8", plain, gzip.compress(plain, 9, mtime=0)
        )
    return files


def _inline_style(sheet: bytes) -> InlineStyle:
    # A browser reads every line end as LF, and hashes what it has read [WHATWG HTML, 13.2.3.5].
    text = sheet.decode().replace("\r\n", "\n")
    if "</" in text or "<!--" in text:
        raise ValueError(
            "a style sheet that would end its element can't stand in a page"
        )
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return InlineStyle(Markup(text), page_headers(f"'sha256-{digest}'"))


def _digest(files: dict[str, StaticFile]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{len(file.plain)}\0".encode())
        digest.update(file.plain)
    return digest.hexdigest()[:16]


def _read_catalogs(folder: Path) -> dict[str, NullTranslations]:
    """Return the translations of all languages by their BCP 47 code."""
    catalogs: dict[str, NullTranslations] = {SOURCE_LANGUAGE: NullTranslations()}
    for path in sorted(folder.glob("*.po")):
        with path.open("rb") as source:
            catalog = read_po(source, locale=path.stem.replace("-", "_"))
        compiled = io.BytesIO()
        write_mo(compiled, catalog)
        compiled.seek(0)
        catalogs[path.stem] = Translations(compiled)
    return catalogs
