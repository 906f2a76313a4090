"""The page as the server sends it: language, addresses, headers, catalogs."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po

from chatsvc.settings import Settings
from chatsvc.web.pages import LANGUAGE_COOKIE, add_pages

ROOT = Path(__file__).parents[2]
Client = TestClient[web.Request, web.Application]
CATALOGS = sorted((ROOT / "chatsvc" / "web" / "catalogs").glob("*.po"))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    outer, inner = web.Application(), web.Application()
    add_pages(inner, Settings(max_message=1000))
    outer.add_subapp("/deep/chat/", inner)
    async with TestClient(TestServer(outer)) as client:
        yield client


async def page(client: Client, **headers: str) -> str:
    async with client.get("/deep/chat/", headers=headers) as response:
        assert response.status == 200
        text: str = await response.text()
        return text


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("zh", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-Hant-TW", "zh"),
        ("en;q=0.5,zh;q=0.9", "zh"),
        ("fr,de;q=0.9", "en"),
        ("zh;q=0,en", "en"),
        ("*;q=x,,;", "en"),
    ],
)
async def test_the_language_is_the_best_that_the_browser_accepts(
    client: Client, accept: str, language: str
) -> None:
    assert f'<html lang="{language}"' in await page(
        client, **{"Accept-Language": accept}
    )


async def test_the_selector_s_choice_wins(client: Client) -> None:
    cookie = {"Cookie": f"{LANGUAGE_COOKIE}=zh", "Accept-Language": "en"}
    assert '<html lang="zh"' in await page(client, **cookie)
    cookie["Cookie"] = f"{LANGUAGE_COOKIE}=../../etc"
    assert '<html lang="en"' in await page(client, **cookie)


async def test_every_address_is_relative_to_the_mount_and_kept_for_a_year(
    client: Client,
) -> None:
    addresses = re.findall(r'(?:href|src)="([^"]+)"', await page(client))
    assert len(addresses) > 15
    for address in addresses:
        assert address.startswith("static/")
        async with client.get(f"/deep/chat/{address}") as response:
            assert response.status == 200
            assert "immutable" in response.headers["Cache-Control"]
            assert response.headers["Content-Encoding"] == "gzip"
            if address.endswith(".js"):
                assert response.content_type == "text/javascript"


async def test_a_file_of_another_version_is_given_but_not_kept(client: Client) -> None:
    async with client.get("/deep/chat/static/0123456789abcdef/main.js") as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
    async with client.get("/deep/chat/static/0123456789abcdef/../x") as response:
        assert response.status == 404


async def test_the_policy_allows_nothing_inline_and_no_other_host(
    client: Client,
) -> None:
    async with client.get("/deep/chat/") as response:
        policy = response.headers["Content-Security-Policy"]
        assert "unsafe" not in policy and "http" not in policy and "*" not in policy
        text = await response.text()
    assert " style=" not in text
    assert not re.search(r"\son[a-z]+=", text)
    # But for the one sheet that the policy names by its hash.
    [sheet] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in policy
    assert re.findall(r"<script(?![^>]* (?:src=|type=.application/json))", text) == []


async def test_the_text_is_painted_without_another_request(client: Client) -> None:
    """Nothing that a browser waits for before it paints has an address."""
    text = await page(client)
    assert re.findall(r"<link[^>]*stylesheet", text) == []
    for script in re.findall(r"<script[^>]*src=[^>]*>", text):
        assert "module" in script or "defer" in script or "async" in script
    assert text.index("<style>") < text.index("<body")
    # The modules are asked for behind the text, all at once: none waits for another one.
    assert text.index('id="welcome"') < text.index('rel="modulepreload"')
    preloaded = set(re.findall(r'modulepreload" href="static/\w+/([^"]+)"', text))
    modules = {
        path.relative_to(ROOT / "static").as_posix()
        for path in (ROOT / "static").rglob("*.js")
    }
    assert preloaded == modules - {"main.js"}


async def test_the_page_has_the_limits(client: Client) -> None:
    data = re.search(r'id="page">(.*?)</script>', await page(client), re.DOTALL)
    assert data is not None
    limits = json.loads(data[1])["limits"]
    assert limits["message"] == 1000
    assert 0 < limits["body"] < 16000


def messages() -> set[str]:
    """Return the sentences of the templates."""
    return {
        str(item[1])
        for name in ("chat.html", "login.html")
        for item in extract_from_file(
            "jinja2.ext:babel_extract",
            str(ROOT / "templates" / name),
            keywords={"_": None},
        )
    }


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.stem)
def test_a_catalog_has_every_sentence_and_no_other(path: Path) -> None:
    with path.open("rb") as file:
        catalog = read_po(file)
    translated = {str(entry.id): str(entry.string) for entry in catalog if entry.id}
    assert set(translated) == messages()
    for sentence, translation in translated.items():
        assert translation
        placeholders = re.findall(r"\{\w+\}", sentence)
        assert sorted(re.findall(r"\{\w+\}", translation)) == sorted(placeholders)


async def test_every_sentence_that_the_modules_use_is_in_the_page(
    client: Client,
) -> None:
    data = re.search(r'id="page">(.*?)</script>', await page(client), re.DOTALL)
    assert data is not None
    known = set(json.loads(data[1])["strings"])
    used = set()
    for path in (ROOT / "static").rglob("*.js"):
        used |= set(re.findall(r"translate\('([\w.-]+)'", path.read_text()))
        for prefix in re.findall(r"translate\(`(\w+)\.\$\{", path.read_text()):
            assert any(key.startswith(f"{prefix}.") for key in known)
    assert used and used <= known
