"""The status page's files, without a browser: one document that loads nothing, and runs nothing but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from subscriber.health import Level
from subscriber.page import load_page

PAGE = load_page()
TEXT = PAGE.body.decode()


class Document(HTMLParser):
    """Ids, attributes, and the text of each script and style."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.inline: dict[str, str] = {}
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        if self._within in {"script", "style"}:
            self.inline[self._within] = self.inline.get(self._within, "") + data

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - its caller's name
        self._within = ""


@pytest.fixture(scope="module")
def document() -> Document:
    read = Document()
    read.feed(TEXT)
    return read


@pytest.mark.parametrize("kind", ["script", "style"])
def test_the_policy_allows_the_pages_own_script_and_style_and_no_other(document: Document, kind: str) -> None:
    digest = base64.b64encode(hashlib.sha256(document.inline[kind].encode()).digest()).decode()
    assert f"{kind}-src 'sha256-{digest}'" in PAGE.policy.split("; ")


def test_the_policy_forbids_all_that_is_not_needed() -> None:
    rules = dict(rule.split(" ", 1) for rule in PAGE.policy.split("; "))
    assert rules.pop("script-src").count("sha256") == rules.pop("style-src").count("sha256") == 1
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_nothing_is_loaded_from_anywhere(document: Document) -> None:
    assert set(re.findall(r"https?://[^\"'`\s]+", TEXT)) == {"http://www.w3.org/2000/svg"}
    named = [value for name, value in document.attributes if name in {"src", "href", "action"}]
    assert [value for value in named if not value.startswith(("#", "data:", "api/status", "metrics"))] == []
    assert "url(" not in document.inline["style"]
    assert "@import" not in document.inline["style"]


def test_no_attribute_holds_a_style_or_a_script(document: Document) -> None:
    assert [name for name, _ in document.attributes if name == "style" or name.startswith("on")] == []


@pytest.mark.parametrize(
    "way",
    ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser", "srcdoc"],
)
def test_a_text_has_no_way_to_become_markup(way: str) -> None:
    assert way not in TEXT


def test_every_element_that_the_script_looks_for_is_there_once(document: Document) -> None:
    script = document.inline["script"]
    looked_for = set(re.findall(r'\b(?:at|plot|showRows)\("([a-z-]+)"', script))
    looked_for |= {f"{name}-{part}" for name in ("jobs", "failed", "finished") for part in ("empty", "all")}
    assert looked_for <= set(document.ids)
    assert len(document.ids) == len(set(document.ids))


@pytest.mark.parametrize("level", [*Level, "silent"])
def test_every_level_has_a_word_and_a_shape(document: Document, level: str) -> None:
    """Who sees no colours is told as well."""
    words = document.inline["script"].split("LEVELS = {")[1].split("}")[0]
    assert f'{level}: "' in words
    assert f"shape-{level}" in document.ids


def test_it_is_small_enough_for_a_bad_line() -> None:
    assert len(PAGE.body) < 40_000
