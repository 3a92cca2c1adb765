"""`run`: the daemon with the cloud's neighbours."""

from __future__ import annotations

import gc
from typing import TextIO

from subscriber import config
from subscriber.compose import cloud_adapters, serve
from subscriber.config import Settings
from subscriber.log import configure, get_logger
from subscriber.metrics import Metrics
from subscriber.signals import signals

__all__ = ["configure_log", "run_daemon"]


def run_daemon() -> int:
    """0 when it drained cleanly, also if it handed jobs to another pod. Raises ConfigErrors."""
    with signals() as events:
        environ = config.environ()
        settings = Settings.from_environ(environ)
        configure_log(settings)
        for warning in config.unknown_names(environ):
            get_logger().warning("unknown_setting", setting=warning)
        metrics = Metrics(settings.model)
        with cloud_adapters(settings, metrics) as adapters:
            gc.freeze()  # what the libraries made of themselves stays: no collection need look at it again
            gc.enable()
            serve(settings, adapters, metrics, events)
    return 0


def configure_log(settings: Settings, stream: TextIO | None = None) -> None:
    """Log as the settings say, to `stream` or standard error, and never the key."""
    secrets = [settings.openai_api_key.get_secret_value()] if settings.openai_api_key else []
    configure(settings.log_level, settings.log_format, stream=stream, secrets=secrets)
