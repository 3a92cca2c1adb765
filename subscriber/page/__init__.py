"""The status page: one document that holds its style and its script, and the policy that allows these two alone."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["Page", "load_page"]


@dataclass(frozen=True, slots=True)
class Page:
    """The document, and the value of its Content-Security-Policy."""

    body: bytes
    policy: str


def load_page() -> Page:
    """Put the three files together. Their hashes are the policy: whatever else finds its way in does not run."""
    style, script = _read("page.css"), _read("page.js")
    document = _read("index.html").replace("/* page.css */", style).replace("/* page.js */", script)
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return Page(document.encode(), "; ".join(f"{name} {value}" for name, value in policy.items()))


def _read(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
