"""Errors, named by their remedy.

The law of this file: an adapter translates what its SDK raises into one of these at its edge and nowhere else,
and what it does not know is `Transient`: unknown means try again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = [
    "FAILURES",
    "IGNORED",
    "NEIGHBOURS",
    "PAUSES",
    "VERDICTS",
    "ClaimLost",
    "ConfigError",
    "FormatRefused",
    "Gone",
    "Interrupted",
    "NeighbourDown",
    "NotForUs",
    "Permanent",
    "PreconditionFailed",
    "RateLimited",
    "Refused",
    "SubscriberError",
    "Superseded",
    "Transient",
]

VERDICTS = {
    "audio_rejected": "the provider cannot read the object as audio",
    "decoder_crashed": "FFmpeg crashed on the file",
    "decoder_hung": "FFmpeg fell silent over the file: no sound, and no question for more of it",
    "decoder_out_of_memory": "decoding needs more memory than one file may have",
    "decoder_out_of_time": "decoding needs more CPU time than one file may have",
    "empty": "the object holds no bytes",
    "exhausted": "MAX_ATTEMPTS attempts failed; the message names the last failure",
    "expired": "the message was published longer ago than MAX_EVENT_AGE_SECONDS",
    "no_audio": "the file has a sound track, but nothing of it could be decoded",
    "no_audio_stream": "the file has no sound track",
    "output_collision": "another source's output has the same name",
    "output_locked": "a retention policy or a hold forbids the write",
    "output_name_too_long": "the output's name would be longer than the 1,024 bytes that Cloud Storage takes",
    "poison": "the whole process died again and again while it had this file alone in work",
    "too_large": "the object is larger than one request to the provider may be",
    "too_long": "the recording is longer than MAX_AUDIO_SECONDS, or than one request to the provider may be",
    "unanswered": "the provider left the request and its one repetition without an answer; both may have been billed",
    "undecodable": "the object is in no container or codec that we read, or is damaged beyond reading",
}
"""Why a job ends dead, for good: the label values of `subscriber_jobs_total{reason}`."""

FAILURES = {
    "bad_answer": "the provider's answer has not the promised shape",
    "decoder_killed": "something outside killed the decoder; where memory runs short, the kernel does",
    "format_refused": "the model does not answer in the format that was asked for; the next one is tried",
    "forbidden_object": "access to this object alone is refused",
    "ledger_error": "the ledger failed for this record while it passed its probe",
    "no_answer": "the provider's answer never came: too late, or the connection broke; it may have been billed",
    "provider_error": "the provider failed for this file while its canary passed",
    "stalled": "for STALL_SECONDS of the job's own time no sound was decoded and no chunk answered",
    "storage_error": "Cloud Storage failed for this object",
    "unexpected": "an error that no adapter knows; the log has its stack",
}
"""Why an attempt failed; the job is tried again until its attempts end."""

NEIGHBOURS = ("firestore", "gcs", "pubsub", "whisper")
"""Whose outage pauses us."""

PAUSES = {
    "budget": "BUDGET_USD_PER_DAY is used up; goes on at midnight UTC, or restarted with a higher limit",
    "billing": "the provider wants money: its quota, credit or spending limit is used up",
    "configuration": "OUTPUT covers a whole bucket from which notifications come",
    "forbidden": "access is refused for a whole bucket, key, subscription, topic or project",
    "model": "the provider does not serve the model",
    "unavailable": "it does not answer, or answers with server errors",
}
"""Why the daemon pauses: the label values of `subscriber_provider_paused{reason}`."""

IGNORED = {
    "event_type": "the notification tells of something other than a finished upload",
    "excluded": "the object's name matches EXCLUDE",
    "forgotten": "an operator had the object forgotten, and it shall not come back by itself",
    "not_a_notification": "the message is neither a Cloud Storage notification nor a CloudEvent of one",
    "not_included": "neither the name nor the content type says audio or video, or INCLUDE does not name it",
    "own_output": "the object lies under our own OUTPUT",
    "skipped": "the object's metadata says transcribe=skip; that is recorded",
}
"""Why a message asks nothing of us."""


class SubscriberError(Exception):
    """What all of ours have in common."""


class NotForUs(SubscriberError):
    """The message asks nothing of us: ack it and say why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = _declared(reason, IGNORED)


class Permanent(SubscriberError):
    """This file will never work: record it dead with the reason.

    `reason` is one of VERDICTS, for metrics and `jobs --reason`; `message` is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = _declared(reason, VERDICTS)


class Transient(SubscriberError):
    """Try this job again later: it costs an attempt. `reason` is one of FAILURES."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = _declared(reason, FAILURES)


class NeighbourDown(SubscriberError):
    """Nothing will work until the neighbour is back: pause, spend nothing, cost nobody an attempt.

    `neighbour` is one of NEIGHBOURS, `budget` or `configuration`; `reason` one of PAUSES. `probe` raises this error
    while it lasts; without one, the neighbour's own probe tells. `maybe_billed`: the request may have arrived.
    """

    def __init__(
        self,
        neighbour: str,
        reason: str,
        message: str,
        *,
        probe: Callable[[], None] | None = None,
        maybe_billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.neighbour = neighbour
        self.probe = probe
        self.maybe_billed = maybe_billed
        self.reason = _declared(reason, PAUSES)


class RateLimited(SubscriberError):
    """The provider asks all of us to wait `seconds` before the next request."""

    def __init__(self, seconds: float, message: str) -> None:
        super().__init__(message)
        self.seconds = seconds


class FormatRefused(SubscriberError):
    """The model does not answer in the format that was asked for: ask in the next one."""


class Gone(SubscriberError):
    """The pinned generation of the source object no longer exists: final."""


class Superseded(SubscriberError):
    """A newer generation of the source object is live: its own message brings its own job."""


class Interrupted(SubscriberError):
    """We stop, the job does not: release it free of charge so that another may go on."""


class ClaimLost(SubscriberError):
    """Another worker holds the job now: change nothing more."""


class PreconditionFailed(SubscriberError):
    """The object is not at the generation that a conditional write or delete asked for."""


class Refused(SubscriberError):
    """Pub/Sub refuses a whole batch because one ack id in it is malformed."""


class ConfigError(SubscriberError):
    """Only configuration can mend this: name the setting and the remedy, exit 2."""

    def __init__(self, setting: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{setting}: {message}" + (f"\n    remedy: {remedy}" if remedy else ""))
        self.setting = setting
        self.remedy = remedy


def _declared(reason: str, table: Mapping[str, str]) -> str:
    """A reason that metrics and documents do not know is a defect of ours; tests meet it here."""
    if reason not in table:
        raise ValueError(f"undeclared reason {reason!r}")
    return reason
