"""`run` and `local`: the same daemon with different neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from subscriber import config
from subscriber.compose import cloud_adapters, folder_adapters, local_settings, serve
from subscriber.config import Settings
from subscriber.log import configure, get_logger
from subscriber.metrics import Metrics
from subscriber.signals import signals

__all__ = ["run_daemon", "run_local"]


def run_daemon() -> int:
    """0 when it drained cleanly, also if it handed jobs to another pod. Raises ConfigErrors."""
    with signals() as events:
        environ = config.environ()
        settings = Settings.from_environ(environ)
        _configure_log(settings)
        for warning in config.unknown_names(environ):
            get_logger().warning("unknown_setting", setting=warning)
        metrics = Metrics(settings.model)
        with cloud_adapters(settings, metrics) as adapters:
            serve(settings, adapters, metrics, events)
    return 0


def run_local(inbox: Path, outbox: Path, *, watch: bool) -> int:
    """0 when every file is settled and none failed, else 1. Raises ConfigErrors."""
    with signals() as events, _provider(config.environ()) as base_url:
        settings = local_settings(config.environ(), base_url)
        _configure_log(settings)
        metrics = Metrics(settings.model)
        with folder_adapters(settings, metrics, inbox, outbox, watch=watch) as adapters:
            daemon = serve(settings, adapters, metrics, events, web=False)
    return 1 if daemon.settler.any_failed else 0


def _configure_log(settings: Settings) -> None:
    secret = settings.openai_api_key
    configure(settings.log_level, settings.log_format, secrets=[secret.get_secret_value()] if secret else [])


@contextmanager
def _provider(environ: Mapping[str, str]) -> Iterator[str | None]:
    """The URL of a local Whisper, or None where the environment names a provider."""
    if any(environ.get(name) for name in ("OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "OPENAI_BASE_URL")):
        yield None
        return
    from subscriber.adapters.local_whisper import LocalWhisper  # noqa: PLC0415 - an extra
    from subscriber.whisper_server import Server  # noqa: PLC0415 - an extra

    with LocalWhisper() as whisper, Server(whisper) as server:
        yield f"{server.url}/v1"
