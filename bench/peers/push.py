"""A push endpoint as the guides for Eventarc and Cloud Run show it: 204 acks, anything else comes again."""

from __future__ import annotations

from flask import Flask, request

from bench.peers.work import transcribe

__all__ = ["app"]

app = Flask(__name__)


@app.get("/")
def _alive() -> tuple[str, int]:
    return "", 204


@app.post("/")
def _pushed() -> tuple[str, int]:
    attributes = request.get_json()["message"]["attributes"]
    transcribe(attributes["bucketId"], attributes["objectId"])
    return "", 204
