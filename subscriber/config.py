"""Every setting: its environment variable, its limits, its default and the argument for that default.

The law of this file: the environment is an argument, and `os.environ` appears here and nowhere else. All mistakes are
reported at once, one a line, each naming its variable. An empty variable is an unset one. No secret is ever shown.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from subscriber.mistakes import ConfigErrors, mistakes
from subscriber.outputs import OutputLocation
from subscriber.setting_values import Formats, Names, full_name, lower, read_key
from subscriber.transcribe.paying import dearest_request_usd, tariff

__all__ = ["ConfigErrors", "Settings", "environ", "setting_names", "unknown_names", "variable"]

_PREFIX = "SUBSCRIBER_"
_WHOLE = re.compile(r"google_cloud_project|openai_\w+|port|\w+_emulator_host")
_NEEDS_KEY = "api.openai.com"


def variable(field: str) -> str:
    """Name of the environment variable of a field; Google's, OpenAI's and Cloud Run's names take no prefix."""
    return field.upper() if _WHOLE.fullmatch(field) else _PREFIX + field.upper()


class Settings(BaseModel):
    """What the daemon runs with: below each field its meaning and, after "Why:", the argument for its default.

    A field that another one limits stands after it, because a validator sees the earlier ones.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=variable,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    google_cloud_project: str | None = None
    """Project of the names that are written short.
    Why: full names carry their own project."""
    subscription: Names = Field(min_length=1)
    """`projects/P/subscriptions/S`, or `S` with GOOGLE_CLOUD_PROJECT; of a comma-separated list the first goes first.
    Why: only you know it."""
    output: str
    """`gs://BUCKET[/PREFIX]`; `{bucket}`, `{name}`, `{stem}`, `{generation}` may be used; without: PREFIX/NAME.ext.
    Why: only you know it."""
    formats: Formats = Field(("json", "txt"), min_length=1)
    """Files of a transcript: json, txt, srt, vtt.
    Why: one for programs, one for people."""
    include: Names = ()
    """Globs on the object's name, case ignored; unset: audio and video name endings, or such a content type.
    Why: what else is in the bucket is not for us."""
    exclude: Names = ()
    """Globs on the object's name, case ignored; wins over INCLUDE.
    Why: only you know what to leave out."""
    firestore_database: str = Field("(default)", pattern="^[^/]+$")
    """Database of the ledger.
    Why: the one that a project has first bears this name."""
    firestore_collection: str = Field("transcriptions", pattern="^[^/]+$")
    """Collection of the ledger.
    Why: its records are about transcriptions."""
    model: Names = Field(("whisper-1", "gpt-transcribe"), min_length=1)
    """Models in order of preference; the next one is taken when the provider says that one is gone.
    Why: whisper-1 tells when each segment was said; the second is for the day when OpenAI retires it (2027-02-26)."""
    language: Annotated[str | None, BeforeValidator(lambda given: None if given == "auto" else given)] = Field(
        None, pattern="^[a-z]{2,3}$"
    )
    """Language of the recordings as ISO 639-1, like `en`; unset or `auto`: the model finds out.
    Why: a wrong language spoils a transcript, and detection is seldom wrong."""
    prompt: str | None = None
    """Passed on with each request.
    Why: it helps only with words that you know of."""
    keywords: Names = ()
    """Words that occur in the recordings; a model that takes none is told them in its prompt.
    Why: only you know your names and terms."""
    openai_base_url: str = f"https://{_NEEDS_KEY}/v1"
    """Where the provider is; any server with OpenAI's interface will do.
    Why: whisper-1 is served there."""
    openai_api_key_file: Path | None = None
    """File that holds the key; white space around it is dropped.
    Why: the key may be given itself."""
    openai_api_key: SecretStr | None = None
    """The provider's key; required for api.openai.com only.
    Why: there is none to fall back on."""
    whisper_concurrency: int = Field(8, ge=1, le=256)
    """Requests of one process on the wire.
    Why: about a hundred short requests a minute, which a new paid account may send."""
    chunk_seconds: float = Field(30, ge=10, le=1200)
    """Longest piece of a recording that is sent in one request.
    Why: measured, 30 s cut at the quietest place give the fewest wrong words; longer ones lose some."""
    max_audio_seconds: float = Field(43_200, ge=1, le=604_800)
    """The longest recording.
    Why: twelve hours are more than a day's meetings; what is longer is more often a mistake than a recording."""
    chunk_cache: str = Field(".chunks/", pattern="^[^/].*$")
    """Where paid chunks are kept, below OUTPUT; a lifecycle rule may delete them after some days.
    Why: beside the outputs they share their rights, and a leading dot keeps them out of the way."""
    max_jobs: int = Field(default_factory=lambda earlier: 2 * earlier.get("whisper_concurrency", 8), ge=1, le=1000)
    """Jobs in work at once; unset: twice WHISPER_CONCURRENCY. A quarter of the places (rounded down, but one of two or
    three) is for objects below 10 MB; as many larger ones as MAX_JOBS wait their turn, then nothing is pulled.
    Why: while one job waits for its answer another is claimed and fetched ahead, so that no slot idles."""
    max_parked: int = Field(1000, ge=0, le=10_000)
    """Deliveries held while another worker has their job; those beyond it are deferred.
    Why: one batch renews all their leases, and they take no worker's place."""
    requests_per_minute: int | None = Field(None, ge=1)
    """Rate of one process; unset: unlimited.
    Why: the provider's 429 knows the limit better."""
    ack_lease_seconds: int = Field(60, ge=10, le=600)
    """Length of Pub/Sub's lease for a delivery; Pub/Sub takes 10 to 600.
    Why: renewed at a third, two renewals may fail; a killed pod's messages come back within a minute."""
    claim_seconds: float = Field(90, ge=3, le=3600)
    """Length of the claim on a job; below 30 a slow renewal or two would lose it.
    Why: renewed at a third, two renewals may fail; a killed pod's jobs are free again after it."""
    stall_seconds: float = Field(900, ge=60, le=86_400)
    """A job that in so long a time of its own has decoded no sound and got no answer has failed; pauses, the provider's
    rate limit and the turns of other jobs do not count. One request may take half of it.
    Why: longer than twice the 360 s that a chunk of 30 s is given."""
    max_attempts: int = Field(10, ge=1, le=1000)
    """Failed attempts of a job before it is recorded dead.
    Why: their backoff spans half an hour or more, and outages cost none."""
    retry_min_seconds: float = Field(10, ge=0.1, le=600)
    """Longest wait after the first failed attempt; it doubles with each.
    Why: a provider's hiccup is over by then."""
    retry_max_seconds: float = Field(600, ge=0.1, le=600)
    """Longest wait between two attempts.
    Why: Pub/Sub can hold a message back for 600 s and no longer."""
    max_event_age_seconds: float = Field(1_209_600, ge=600, le=2_678_400)
    """A message published longer ago is recorded dead (`expired`); must be below the subscription's retention.
    Why: an outage of 14 days loses nothing, and Pub/Sub can keep messages for 31."""
    price_usd_per_minute: float | None = Field(None, ge=0)
    """Price of a minute of audio, for the cost metric and the budget; unset: the model's list price.
    Why: most pay the list price."""
    budget_usd_per_day: float | None = Field(None, gt=0)
    """Most that may be spent in a UTC day, by all processes with this ledger together; unset: unlimited.
    Why: only you know it."""
    result_topic: str | None = None
    """`projects/P/topics/T`, or `T` with GOOGLE_CLOUD_PROJECT: gets a CloudEvent for every job that is settled.
    Why: nobody may be listening."""
    replay_topic: str | None = None
    """Like RESULT_TOPIC: where `replay` and `backfill` publish; its subscription is the second of SUBSCRIPTION.
    Why: only they need it. A topic of its own, so that other readers of the bucket's see no invented events."""
    user_project: str | None = None
    """Project that pays for requester-pays buckets.
    Why: most buckets are paid for by their owners."""
    shutdown_grace_seconds: float = Field(8, ge=0, le=3600)
    """From SIGTERM to exit.
    Why: Cloud Run kills after 10 s; on GKE set the pod's grace less 30."""
    port: int = Field(8080, ge=0, le=65_535)
    """Of /metrics, /livez, /readyz, the page and /api/status; 0 takes a free one.
    Why: Cloud Run's own default."""
    status_page: Annotated[Literal["on", "off"], BeforeValidator(lower)] = "on"
    """Whether there is a page at / and its data at /api/status; both tell the names of objects.
    Why: who can reach the port may mostly know them; turn it off where names are personal data."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = "info"
    """Lowest level that is written.
    Why: the end of every delivery, and all that an operator may act on."""
    log_format: Annotated[Literal["json", "console"] | None, BeforeValidator(lower)] = None
    """json for Cloud Logging, console for people; unset: console on a terminal, json elsewhere.
    Why: people sit at terminals, collectors do not."""
    pubsub_emulator_host: str | None = None
    """`HOST:PORT` of a Pub/Sub emulator, which is then used without credentials.
    Why: for tests and the demo."""
    firestore_emulator_host: str | None = None
    """`HOST:PORT` of a Firestore emulator, which is then used without credentials.
    Why: for tests and the demo."""
    storage_emulator_host: str | None = None
    """URL of a Cloud Storage emulator, which is then used without credentials.
    Why: for tests and the demo."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises ConfigErrors with every mistake; may read OPENAI_API_KEY_FILE."""
        given = {name: environ[name].strip() for name in setting_names() if environ.get(name, "").strip()}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = mistakes(error, variable)
        raise ConfigErrors(lines)  # not from the original: that one knows the values, also the secret ones

    @field_validator("subscription")
    @classmethod
    def _full_subscriptions(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(full_name("subscriptions", name, info) for name in names)

    @field_validator("result_topic", "replay_topic")
    @classmethod
    def _full_topic(cls, name: str | None, info: ValidationInfo) -> str | None:
        return name and full_name("topics", name, info)

    @field_validator("output")
    @classmethod
    def _output_location(cls, output: str) -> str:
        return OutputLocation.parse(output).text

    @field_validator("openai_base_url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http:// or https:// URL")
        if parts.username or parts.password or parts.query:
            raise ValueError("must carry no user, password or query: it is shown and logged")
        return url

    @field_validator("openai_api_key")
    @classmethod
    def _one_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """The key itself, or the file's, or none where none is needed."""
        if path := info.data["openai_api_key_file"]:
            if key:
                raise ValueError("is set beside OPENAI_API_KEY_FILE; unset one of them")
            key = read_key(path)
        if not key and urlsplit(info.data.get("openai_base_url", "")).hostname == _NEEDS_KEY:
            raise ValueError(f"is required for {_NEEDS_KEY}; OPENAI_API_KEY_FILE would do as well")
        if key and not re.fullmatch(r"[!-~]+", key.get_secret_value()):
            raise ValueError("holds characters that no HTTP header takes")
        return key

    @field_validator("budget_usd_per_day")
    @classmethod
    def _can_be_kept(cls, budget: float | None, info: ValidationInfo) -> float | None:
        """A budget needs prices, and has to pay for a chunk at least."""
        known = info.data
        if budget is not None and {"price_usd_per_minute", "openai_base_url", "model", "chunk_seconds"} <= known.keys():
            price = tariff(known["price_usd_per_minute"], known["openai_base_url"])
            chunk = dearest_request_usd(known["model"], price, known["chunk_seconds"])
            if budget < chunk:
                raise ValueError(f"{budget:g} does not pay for a single chunk, which may cost {chunk:g}")
        return budget

    @field_validator("retry_max_seconds")
    @classmethod
    def _not_below_min(cls, longest: float, info: ValidationInfo) -> float:
        if longest < info.data.get("retry_min_seconds", 0):
            raise ValueError(f"{longest:g} is below SUBSCRIBER_RETRY_MIN_SECONDS")
        return longest


def environ() -> Mapping[str, str]:
    """The environment of this process: the composition root hands it on."""
    return os.environ


def setting_names() -> set[str]:
    """Every environment variable that is a setting."""
    return {variable(field) for field in Settings.model_fields}


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable with our prefix that is no setting: a typo, or a neighbour's.

    Never an error: Kubernetes injects SUBSCRIBER_SERVICE_HOST and friends for a Service named subscriber.
    """
    known = {name.removeprefix(_PREFIX): name for name in setting_names()}
    unknown = sorted(name for name in environ if name.startswith(_PREFIX) and name not in known.values())
    near = {name: difflib.get_close_matches(name.removeprefix(_PREFIX), known, n=1, cutoff=0.75) for name in unknown}
    return [
        f"{name} is no setting" + "".join(f"; did you mean {known[hit]}?" for hit in near[name]) for name in unknown
    ]
