"""A model's answer is judged before it is believed: every lie that was seen has its guard, and nothing else is lost."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.transcribe.coverage import halves, quiet_middle
from subscriber.transcribe.guards import judge, judge_halves, read
from subscriber.transcribe.profiles import Profile, profile_of
from subscriber.transcribe.verdicts import from_json, to_json
from subscriber.transcript import WARNINGS, Answer, ChunkSpan, ChunkText, Segment, Word

WHISPER = profile_of("whisper-1")
TEXT_ONLY = profile_of("gpt-transcribe")
SPAN = ChunkSpan(3, 90.0, 120.0, loud=((90.0, 120.0),))
SPEECH = "The rain came early this year and the slugs came with it, so next time we will cover the young plants."
SAID = Segment(0.0, 30.0, f" {SPEECH}", -0.2, 0.01, 1.3)
NOISE = {"avg_logprob": -0.9, "no_speech_prob": 0.7}


def answer(*segments: Segment, text: str = "", words: tuple[Word, ...] = (), request_id: str = "req_1") -> Answer:
    text = text or " ".join(one.text.strip() for one in segments)
    return Answer(text, "english", 30.0, segments, words, "whisper-1", request_id, None)


class Judged(NamedTuple):
    """The text, and where its chunk is to be halved: None where the text is final."""

    text: ChunkText
    halve_at: float | None


def judged(said: Answer, span: ChunkSpan = SPAN, prompt: str | None = None, profile: Profile = WHISPER) -> Judged:
    text = judge(said, span, prompt=prompt, profile=profile)
    return Judged(text, quiet_middle(span) if text.doubted else None)


def final(said: Answer, span: ChunkSpan = SPAN, prompt: str | None = None) -> ChunkText:
    """The verdict on an answer that needs no second request."""
    found = judged(said, span, prompt)
    assert found.halve_at is None
    return found.text


def kinds(text: ChunkText) -> list[str]:
    return [warning.kind for warning in text.warnings]


def loud(*stretches: tuple[float, float]) -> ChunkSpan:
    """A chunk of 30 s, with sound at these seconds of it."""
    return replace(SPAN, loud=tuple((90 + start, 90 + end) for start, end in stretches))


def test_plain_speech_passes_as_it_is() -> None:
    text = final(answer(SAID))
    assert (text.text, text.language, text.timing, text.warnings) == (SPEECH, "en", "model", ())
    assert text.segments == (replace(SAID, text=SPEECH),)
    assert (text.billed_seconds, text.request_ids, text.model) == (30.0, ("req_1",), "whisper-1")


class TestWordsOnSilence:
    @pytest.mark.parametrize("invented", ["You", " Thank you.", "ご視聴ありがとうございました"])
    def test_doubted_words_without_a_sound_are_dropped_whatever_they_are(self, invented: str) -> None:
        text = final(answer(replace(SAID, end=20.0), Segment(25.0, 29.0, invented, **NOISE)), loud((0, 20)))
        assert (text.text, kinds(text)) == (SPEECH, ["no_speech"])
        assert (text.warnings[0].start, text.warnings[0].end) == (25.0, 29.0)

    def test_so_are_those_past_the_end_of_the_audio(self) -> None:
        text = final(answer(replace(SAID, end=20.0), Segment(30.0, 32.0, "You", **NOISE)), loud((0, 20)))
        assert text.text == SPEECH

    @pytest.mark.parametrize(
        ("segment", "span"),
        [
            (Segment(25.0, 29.0, "Thank you.", -0.9, 0.62), loud((0, 20), (26, 26.4))),  # true speech had 0.62
            (Segment(25.0, 29.0, "Thank you.", -0.9, 0.6), loud((0, 20))),
            (Segment(25.0, 29.0, "Thank you.", -0.8, 0.9), loud((0, 20))),
            (Segment(25.0, 29.0, "Thank you.", None, None), loud((0, 20))),
        ],
        ids=["sound", "speech", "sure", "no scores"],
    )
    def test_one_of_the_three_signs_alone_drops_nothing(self, segment: Segment, span: ChunkSpan) -> None:
        assert final(answer(replace(SAID, end=20.0), segment), span).text == f"{SPEECH} Thank you."

    def test_the_words_times_go_with_them(self) -> None:
        words = (Word("rain", 1.0, 2.0), Word("You", 25.5, 26.0))
        said = answer(replace(SAID, end=20.0), Segment(25.0, 29.0, "You", **NOISE), words=words)
        assert final(said, loud((0, 20))).words == words[:1]


class TestLoops:
    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            ("No, no, no. No, no!", "No,"),
            ("well I am so I am so I am so I am so I am so I", "well I am so"),
            ("I am here. I am here. I am here. I am here. I am here. I am there.", "I am here. I am there."),
            ("谢谢观看谢谢观看谢谢观看谢谢观看谢谢观看", "谢谢观看"),
            ("one two three four five six " * 5 + "end", "one two three four five six end"),
        ],
    )
    def test_a_phrase_five_times_in_a_row_is_kept_once(self, said: str, kept: str) -> None:
        text = final(answer(Segment(0.0, 9.0, said)), loud((0, 9)))
        assert (text.text, kinds(text)) == (kept, ["loop"])

    @pytest.mark.parametrize(
        "said",
        ["no no no no", "go " * 4, "very very very very good, very very very very well"],
    )
    def test_less_is_how_people_talk(self, said: str) -> None:
        text = final(answer(Segment(0.0, 9.0, said)), loud((0, 9)))
        assert (text.text, kinds(text)) == (said.strip(), [])

    def test_a_loop_over_segments_leaves_the_first(self) -> None:
        segments = [replace(SAID, end=20.0)] + [Segment(20.0 + i, 21.0 + i, "Thank you.") for i in range(6)]
        text = final(answer(*segments), loud((0, 21)))
        assert [one.text for one in text.segments] == [SPEECH, "Thank you."]
        assert [(one.kind, one.start, one.end) for one in text.warnings] == [("loop", 21.0, 26.0)]

    def test_a_text_that_compresses_too_well_is_searched_for_long_and_few_repetitions(self) -> None:
        phrase = "we will now come to the second question of today's meeting "
        text = final(answer(Segment(0.0, 20.0, phrase * 4)), loud((0, 20)))
        assert (text.text, kinds(text)) == (phrase.strip(), ["loop"])

    def test_the_models_own_ratio_counts(self) -> None:
        said = Segment(0.0, 9.0, "we begin and we begin and we begin and", compression_ratio=2.5)
        assert final(answer(said), loud((0, 9))).text == "we begin and"
        assert final(answer(replace(said, compression_ratio=2.4)), loud((0, 9))).text == said.text

    def test_speech_that_the_loop_has_hidden_is_asked_for_again(self) -> None:
        assert judged(answer(*[Segment(float(i), i + 1.0, "Thank you.") for i in range(30)])).halve_at == 105.0

    def test_the_words_are_thinned_alike(self) -> None:
        words = tuple(Word("no", float(i), i + 0.5) for i in range(6))
        assert final(answer(Segment(0.0, 6.0, "no " * 6), words=words), loud((0, 6))).words == words[:1]


class TestThePromptsEcho:
    PROMPT = "Kubernetes, Firestore, and Pub/Sub are spoken of."

    @pytest.mark.parametrize("echo", [PROMPT, PROMPT.upper(), "kubernetes firestore and pub/sub are spoken of"])
    def test_the_prompt_alone_is_no_text_and_is_asked_again(self, echo: str) -> None:
        found = judged(answer(Segment(0.0, 30.0, echo)), prompt=self.PROMPT)
        assert (found.text.text, found.halve_at, kinds(found.text)) == ("", 105.0, ["prompt_echo"])

    def test_it_is_cut_out_of_other_text(self) -> None:
        said = answer(Segment(0.0, 3.0, self.PROMPT), replace(SAID, start=3.0))
        assert final(said, prompt=self.PROMPT).text == SPEECH

    def test_a_part_of_it_alone_is_an_echo(self) -> None:
        assert judged(answer(Segment(0.0, 30.0, "Pub/Sub are spoken of.")), prompt=self.PROMPT).text.text == ""

    def test_a_word_of_it_is_none(self) -> None:
        assert final(answer(text="Firestore."), loud((0, 2)), self.PROMPT).text == "Firestore."

    @pytest.mark.parametrize("prompt", [None, "", "rain", "The rain came late", "the slugs came"])
    def test_words_in_common_are_none(self, prompt: str | None) -> None:
        assert final(answer(SAID), prompt=prompt).text == SPEECH


class TestTimes:
    def test_they_are_clamped_to_the_chunk_and_put_in_order(self) -> None:
        half = SPEECH[:50], SPEECH[50:]
        text = final(answer(Segment(-1.0, 20.0, half[0]), Segment(15.0, 1e6, half[1])))
        assert [(one.start, one.end) for one in text.segments] == [(0.0, 15.0), (15.0, 30.0)]
        assert text.timing == "model"

    @pytest.mark.parametrize(
        "times",
        [((math.nan, 5.0), (5.0, 30.0)), ((5.0, math.inf), (6.0, 7.0)), ((9.0, 20.0), (1.0, 9.0)), ((3.0, 1.0),)],
    )
    def test_impossible_ones_are_estimated_and_no_word_is_lost(self, times: tuple[tuple[float, float], ...]) -> None:
        text = final(answer(*[Segment(*pair, SPEECH) for pair in times]))
        assert (text.text, text.timing, kinds(text)) == (" ".join([SPEECH] * len(times)), "estimated", ["times"])
        assert all(0 <= one.start <= one.end <= 30 for one in text.segments)

    def test_impossible_times_of_words_cost_the_words_times_only(self) -> None:
        text = final(answer(SAID, words=(Word("rain", 5.0, 6.0), Word("came", 4.0, 5.0))))
        assert (text.text, text.words) == (SPEECH, ())


class TestCoverage:
    def test_eight_seconds_of_sound_without_text_are_asked_for_again(self) -> None:
        assert judged(answer(replace(SAID, end=21.9))).halve_at is not None
        assert judged(answer(replace(SAID, end=22.1))).halve_at is None

    def test_a_pause_needs_no_text(self) -> None:
        assert final(answer(replace(SAID, end=10.0)), loud((0, 10))).warnings == ()

    def test_a_segment_covers_no_more_sound_than_its_text_can(self) -> None:
        assert judged(answer(Segment(0.0, 30.0, "Thank you."))).halve_at == 105.0

    def test_more_text_than_can_be_said_is_asked_for_again(self) -> None:
        many = " ".join(str(number) for number in range(200))
        assert len(many) < 25 * 30
        assert judged(answer(Segment(0.0, 30.0, many))).halve_at is None
        assert judged(answer(Segment(0.0, 30.0, f"{many} {many[::-1]}"))).halve_at is not None

    @pytest.mark.parametrize("profile", [WHISPER, TEXT_ONLY])
    @pytest.mark.parametrize("said", ["", " \n"])
    def test_a_loud_chunk_without_words_is_never_final_at_once(self, profile: object, said: str) -> None:
        span = loud((3, 5))
        found = judged(answer(text=said), span, profile=profile)  # type: ignore[arg-type]
        assert found.halve_at is not None

    def test_a_click_may_be_wordless(self) -> None:
        assert final(answer(text=""), loud((3, 3.2))) == replace(
            final(answer(SAID)), text="", timing=None, segments=(), warnings=()
        )

    def test_what_is_too_short_for_halves_is_believed_with_a_warning(self) -> None:
        span = ChunkSpan(0, 0.0, 1.9, loud=((0.0, 1.9),))
        assert kinds(final(answer(text=""), span)) == ["no_text"]


class TestHalves:
    def test_they_are_cut_in_the_longest_pause_of_the_middle(self) -> None:
        assert judged(answer(text=""), loud((0, 3), (5, 11), (12.5, 14), (14.4, 30))).halve_at == 90 + 11.75

    def test_two_like_pauses_are_chosen_by_their_distance_from_the_middle(self) -> None:
        assert judged(answer(text=""), loud((0, 9), (10, 14), (15, 30))).halve_at == 104.5

    def test_a_sound_without_a_pause_is_cut_in_the_middle_on_a_sample(self) -> None:
        span = ChunkSpan(0, 0.0, 29.99999, loud=((0.0, 29.99999),))
        assert judged(answer(text=""), span).halve_at == 15.0

    def test_each_has_its_own_sound(self) -> None:
        one, two = halves(loud((0, 3), (10, 12)), 101.0)
        assert one == ChunkSpan(3, 90.0, 101.0, loud=((90.0, 93.0), (100.0, 101.0)))
        assert two == ChunkSpan(3, 101.0, 120.0, loud=((101.0, 102.0),))

    def test_only_a_long_one_can_be_silent(self) -> None:
        assert [part.silent for part in halves(loud((0, 3)), 110.0)] == [False, True]
        assert [part.silent for part in halves(loud((0, 3)), 111.0)] == [False, False]

    def both(self, *said: Answer | None, whole: ChunkText | None = None) -> ChunkText:
        asked = zip(halves(SPAN, 105.0), said, strict=True)
        parts = [(part, read(one, part, prompt=None, profile=WHISPER)) for part, one in asked if one]
        return judge_halves(whole, parts, SPAN)

    def test_their_texts_are_joined_where_they_lie_and_every_request_is_told(self) -> None:
        whole = judged(answer(Segment(0.0, 5.0, "The rain"))).text
        half = Segment(0.0, 15.0, SPEECH)
        text = self.both(answer(half, request_id="req_2"), answer(half, request_id="req_3"), whole=whole)
        assert text.text == f"{SPEECH} {SPEECH}"
        assert [(one.start, one.end) for one in text.segments] == [(0.0, 15.0), (15.0, 30.0)]
        assert (text.request_ids, text.billed_seconds, text.warnings) == (("req_1", "req_2", "req_3"), 60.0, ())
        assert (text.timing, text.language) == ("model", "en")

    def test_words_that_are_missing_still_are_told_with_their_time(self) -> None:
        whole = judged(answer(text="")).text
        text = self.both(answer(Segment(0.0, 15.0, SPEECH)), answer(text=""), whole=whole)
        assert [(one.kind, one.start, one.end) for one in text.warnings] == [("no_text", 15.0, 30.0)]

    def test_two_empty_halves_are_a_final_verdict(self) -> None:
        whole = judged(answer(text="")).text
        text = self.both(answer(text=""), answer(text=""), whole=whole)
        assert (text.text, kinds(text), text.timing) == ("", ["no_text"], None)

    def test_the_whole_is_kept_where_it_says_more(self) -> None:
        whole = judged(answer(replace(SAID, end=20.0))).text
        text = self.both(answer(text=""), answer(text=""), whole=whole)
        assert (text.text, kinds(text), text.billed_seconds) == (SPEECH, ["no_text"], 60.0)

    def test_a_chunk_that_was_refused_as_too_long_has_halves_only(self) -> None:
        text = self.both(answer(Segment(0.0, 15.0, SPEECH)), None)
        assert (text.text, text.billed_seconds, text.model) == (SPEECH, 15.0, "whisper-1")

    def test_what_was_not_asked_is_silence(self) -> None:
        assert self.both(None, None).text == ""


class TestTextOnlyModels:
    def test_their_times_are_estimated(self) -> None:
        found = judged(answer(text=f"{SPEECH} {SPEECH}"), profile=TEXT_ONLY)
        assert (found.text.timing, len(found.text.segments), found.halve_at) == ("estimated", 2, None)

    def test_their_mark_for_a_parted_word_goes(self) -> None:
        found = judged(answer(text=f"… {SPEECH}…"), profile=TEXT_ONLY)
        assert found.text.text == SPEECH

    @pytest.mark.parametrize("segments", [(Segment(0.0, 30.0, f"{SPEECH}…"),), ()])
    def test_a_whispers_dots_stay(self, segments: tuple[Segment, ...]) -> None:
        assert final(answer(*segments, text=f"{SPEECH}…")).text == f"{SPEECH}…"


numbers = st.one_of(st.floats(-5, 40), st.sampled_from([math.nan, math.inf, -math.inf, 1e6, 30.0]))
texts = st.one_of(st.text(max_size=60), st.sampled_from([SPEECH, "no " * 30, "谢谢观看。" * 9, " --> ", "\n\n"]))
segments = st.builds(
    Segment, numbers, numbers, texts, st.none() | st.floats(-2, 0), st.none() | st.floats(0, 1), st.none() | numbers
)
spoken = st.builds(Word, st.text(max_size=9), numbers, numbers)
stretches = (
    st.lists(st.floats(80, 130), max_size=12).map(sorted).map(lambda at: tuple(zip(at[::2], at[1::2], strict=False)))
)


@given(st.lists(segments, max_size=9), texts, st.lists(spoken, max_size=5), stretches, st.none() | texts)
def test_whatever_is_answered_the_verdict_is_possible(
    said: list[Segment], text: str, words: list[Word], sound: tuple[tuple[float, float], ...], prompt: str | None
) -> None:
    reply = replace(answer(*said, words=tuple(words)), text=text)
    span = replace(SPAN, loud=sound)
    for profile in (WHISPER, TEXT_ONLY):
        found = judged(reply, span, prompt, profile)
        verdicts = [found.text]
        if found.halve_at is not None:
            assert 97.5 <= found.halve_at <= 112.5
            asked = [part for part in halves(span, found.halve_at) if not part.silent]
            parts = [(part, read(reply, part, prompt=prompt, profile=profile)) for part in asked]
            verdicts.append(judge_halves(found.text, parts, span))
        for verdict in verdicts:
            assert_possible(verdict)


def assert_possible(verdict: ChunkText) -> None:
    assert from_json(to_json(verdict)) == verdict
    assert (verdict.timing is None) == (not verdict.text) == (not verdict.segments)
    assert {warning.kind for warning in verdict.warnings} <= WARNINGS.keys()
    for times in ([(one.start, one.end) for one in verdict.segments], [(one.start, one.end) for one in verdict.words]):
        assert all(0 <= start <= end <= 30 for start, end in times)
        assert all(one[1] <= two[0] for one, two in pairwise(times))
    assert all(one.text == one.text.strip() != "" for one in verdict.segments)
