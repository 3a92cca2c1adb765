"""How a command ends: whatever it raises is a line for people and an exit code."""

from __future__ import annotations

import sys

import typer

from subscriber.errors import ConfigError, SubscriberError

__all__ = ["exit_code"]


def exit_code(app: typer.Typer) -> int:
    """Run the command that was typed; 0 done, 1 something failed, 2 bad usage or configuration. Errors are printed."""
    from subscriber.config import ConfigErrors  # noqa: PLC0415 - pydantic is slow to import, and --help needs none

    try:
        code = app(standalone_mode=False)
    except (ConfigErrors, ConfigError) as error:
        print(error, file=sys.stderr)
        return 2
    except SubscriberError as error:
        print(error, file=sys.stderr)
        return 1
    except typer.Abort:
        return 1
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # bad usage, as typer reports it
            error.show()
            return int(error.exit_code)
        raise
    return int(code or 0)
