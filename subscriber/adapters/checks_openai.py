"""Which models a provider lists."""

from __future__ import annotations

import openai
from openai import OpenAI

from subscriber.desk.facts import Unseen

__all__ = ["listed_models"]

CALL_SECONDS = 15.0


def listed_models(api_key: str | None, base_url: str) -> frozenset[str]:
    """Their names. Raises Unseen: a compatible server need not have such a list."""
    with OpenAI(api_key=api_key or "none", base_url=base_url, max_retries=0) as client:
        try:
            return frozenset(model.id for model in client.models.list(timeout=CALL_SECONDS))
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            raise Unseen(f"the provider lists no models: {type(error).__name__}") from error
