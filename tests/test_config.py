from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from subscriber.config import ConfigErrors, Settings, environ, setting_names, unknown_names
from subscriber.settings_table import describe, markdown

KEY = "sk-test-0123456789abcdef"
LEAST = {
    "SUBSCRIBER_SUBSCRIPTION": "projects/demo/subscriptions/audio",
    "SUBSCRIBER_OUTPUT": "gs://transcripts",
    "OPENAI_API_KEY": KEY,
}


def read(**given: str) -> Settings:
    return Settings.from_environ({**LEAST, **given})


def mistakes(given: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        Settings.from_environ(given)
    return caught.value.lines


def test_the_subscription_the_output_and_the_key_are_enough() -> None:
    settings = read()
    assert settings.subscription == ("projects/demo/subscriptions/audio",)
    assert settings.output == "gs://transcripts"
    assert settings.formats == ("json", "txt")
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == KEY


def test_all_mistakes_are_reported_at_once_one_a_line_by_their_variables() -> None:
    lines = mistakes(
        {
            "SUBSCRIBER_OUTPUT": "s3://elsewhere",
            "SUBSCRIBER_FORMATS": "json,doc",
            "SUBSCRIBER_MAX_JOBS": "many",
            "SUBSCRIBER_ACK_LEASE_SECONDS": "5",
            "SUBSCRIBER_CLAIM_SECONDS": "nan",
            "SUBSCRIBER_RETRY_MIN_SECONDS": "300",
            "SUBSCRIBER_RETRY_MAX_SECONDS": "200",
            "OPENAI_BASE_URL": "ftp://provider",
            "OPENAI_API_KEY_FILE": "/nowhere/key",
            "PORT": "70000",
        }
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "SUBSCRIBER_SUBSCRIPTION",
        "SUBSCRIBER_OUTPUT",
        "SUBSCRIBER_FORMATS",
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "SUBSCRIBER_MAX_JOBS",
        "SUBSCRIBER_ACK_LEASE_SECONDS",
        "SUBSCRIBER_CLAIM_SECONDS",
        "SUBSCRIBER_RETRY_MAX_SECONDS",
        "PORT",
    ]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"SUBSCRIBER_SUBSCRIPTION": "audio"}, "'audio' has no project: write projects/P/subscriptions/audio, or set"),
        ({"SUBSCRIBER_SUBSCRIPTION": "projects/p/topics/t"}, "must be projects/P/subscriptions/NAME or NAME"),
        ({"SUBSCRIBER_SUBSCRIPTION": " , "}, "at least 1 item"),
        ({"SUBSCRIBER_OUTPUT": "gs://b/{nome}"}, "unknown placeholder {nome}"),
        ({"SUBSCRIBER_FORMATS": "doc"}, "should be 'json', 'txt', 'srt' or 'vtt', not 'doc'"),
        ({"SUBSCRIBER_RETRY_MAX_SECONDS": "5"}, "5 is below SUBSCRIBER_RETRY_MIN_SECONDS"),
        ({"SUBSCRIBER_CLAIM_SECONDS": "2"}, "greater than or equal to 3, not '2'"),
        ({"SUBSCRIBER_MAX_JOBS": "0"}, "greater than or equal to 1, not '0'"),
        ({"SUBSCRIBER_LANGUAGE": "english"}, "SUBSCRIBER_LANGUAGE"),
        ({"SUBSCRIBER_LOG_LEVEL": "loud"}, "should be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ({"SUBSCRIBER_BUDGET_USD_PER_DAY": "0"}, "greater than 0, not '0'"),
        ({"SUBSCRIBER_BUDGET_USD_PER_DAY": "0.002"}, "0.002 does not pay for a single chunk, which may cost 0.003"),
        (
            {"SUBSCRIBER_BUDGET_USD_PER_DAY": "5", "OPENAI_BASE_URL": "http://whisper:9000/v1"},
            "BUDGET_USD_PER_DAY: needs SUBSCRIBER_PRICE_USD_PER_MINUTE: what whisper-1 costs there is not known",
        ),
        ({"SUBSCRIBER_RESULT_TOPIC": "ab"}, "SUBSCRIBER_RESULT_TOPIC"),
        ({"OPENAI_BASE_URL": "https://me:secret@host/v1"}, "must carry no user, password or query"),
        ({"OPENAI_API_KEY": ""}, "is required for api.openai.com"),
        ({"OPENAI_API_KEY": "two words"}, "characters that no HTTP header takes"),
        ({"OPENAI_API_KEY_FILE": "/some/file"}, "unset one of them"),
    ],
)
def test_a_mistake_says_what_is_wrong(given: dict[str, str], line: str) -> None:
    assert line in "\n".join(mistakes({**LEAST, **given}))


def test_an_empty_variable_is_an_unset_one() -> None:
    assert read(SUBSCRIBER_PROMPT="", SUBSCRIBER_MAX_JOBS=" ", PORT="") == read()


def test_short_names_take_the_project_and_the_first_subscription_stays_first() -> None:
    settings = read(
        GOOGLE_CLOUD_PROJECT="demo",
        SUBSCRIBER_SUBSCRIPTION="live, projects/other/subscriptions/replay,live",
        SUBSCRIBER_RESULT_TOPIC="results",
        SUBSCRIBER_REPLAY_TOPIC="replays",
    )
    assert settings.subscription == ("projects/demo/subscriptions/live", "projects/other/subscriptions/replay")
    assert settings.result_topic == "projects/demo/topics/results"
    assert settings.replay_topic == "projects/demo/topics/replays"


def test_twice_as_many_jobs_as_slots_are_in_work_unless_told_otherwise() -> None:
    assert read(SUBSCRIBER_WHISPER_CONCURRENCY="3").max_jobs == 6
    assert read(SUBSCRIBER_WHISPER_CONCURRENCY="3", SUBSCRIBER_MAX_JOBS="4").max_jobs == 4


def test_language_auto_is_no_language() -> None:
    assert read(SUBSCRIBER_LANGUAGE="auto").language is None
    assert read(SUBSCRIBER_LANGUAGE="de").language == "de"


def test_a_provider_of_our_own_needs_no_key() -> None:
    settings = read(OPENAI_API_KEY="", OPENAI_BASE_URL="http://whisper:8000/v1")
    assert settings.openai_api_key is None


def test_the_key_may_come_from_a_file_that_ends_with_a_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    settings = read(OPENAI_API_KEY="", OPENAI_API_KEY_FILE=str(tmp_path / "key"))
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == KEY


def test_a_missing_or_empty_key_file_is_named(tmp_path: Path) -> None:
    for content in (None, b"", b"\xff"):
        if content is not None:
            (tmp_path / "key").write_bytes(content)
        (line,) = mistakes({**LEAST, "OPENAI_API_KEY": "", "OPENAI_API_KEY_FILE": str(tmp_path / "key")})
        assert str(tmp_path / "key") in line


def test_the_key_is_shown_nowhere() -> None:
    settings = read()
    wrong = mistakes({"OPENAI_API_KEY": f"{KEY} with words", "SUBSCRIBER_MAX_JOBS": "0"})
    for text in (repr(settings), str(settings), str(describe(settings)), settings.model_dump_json(), *wrong):
        assert KEY not in text


def test_settings_are_frozen() -> None:
    settings: Any = read()
    with pytest.raises(ValidationError):
        settings.max_jobs = 3


def test_a_typo_is_warned_about_with_what_was_meant() -> None:
    given = {**LEAST, "SUBSCRIBER_OUTPT": "gs://x", "SUBSCRIBER_OPENAI_API_KEY": KEY, "PATH": "/bin"}
    assert unknown_names(given) == [
        "SUBSCRIBER_OPENAI_API_KEY is no setting; did you mean OPENAI_API_KEY?",
        "SUBSCRIBER_OUTPT is no setting; did you mean SUBSCRIBER_OUTPUT?",
    ]


def test_what_kubernetes_injects_for_a_service_named_subscriber_is_not_fatal() -> None:
    injected = {
        "SUBSCRIBER_SERVICE_HOST": "10.0.0.7",
        "SUBSCRIBER_SERVICE_PORT": "8080",
        "SUBSCRIBER_PORT": "tcp://10.0.0.7:8080",
        "SUBSCRIBER_PORT_8080_TCP_ADDR": "10.0.0.7",
    }
    assert read(**injected) == read()
    assert len(unknown_names(injected)) == len(injected)


def test_every_setting_has_a_meaning_and_an_argued_default_and_stands_in_the_table() -> None:
    rows = describe()
    assert {row.name for row in rows} == setting_names()
    for row in rows:
        assert all((row.meaning, row.why, row.default, row.type)), row.name
        assert "\n" not in row.meaning + row.why, row.name
        assert f"| `{row.name}` | {row.type} | {row.default} |" in markdown()


def test_names_that_others_gave_take_no_prefix() -> None:
    assert {name for name in setting_names() if not name.startswith("SUBSCRIBER_")} == {
        "FIRESTORE_EMULATOR_HOST",
        "GOOGLE_CLOUD_PROJECT",
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_FILE",
        "OPENAI_BASE_URL",
        "PORT",
        "PUBSUB_EMULATOR_HOST",
        "STORAGE_EMULATOR_HOST",
    }


def test_the_environment_of_the_process_is_read_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSCRIBER_MAX_JOBS", "77")
    assert read().max_jobs != 77
    assert read(**environ()).max_jobs == 77
