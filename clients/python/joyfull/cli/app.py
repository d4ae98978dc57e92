"""The command line: its commands by name, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from joyfull.cli.common import App
from joyfull.cli.exits import Exit, status_of
from joyfull.cli.terminal import Terminal, compact
from joyfull.cli.version import version_line
from joyfull.errors import JoyfullError
from joyfull.problems import ApiError, Unauthenticated

#: Where each command is; a module is loaded when its command is called.
COMMANDS = {
    "run": "jobs", "submit": "jobs", "wait": "jobs", "get": "jobs", "list": "jobs:list_", "events": "jobs",
    "cancel": "jobs",
    "tools": "catalogue", "quote": "catalogue",
    "usage": "spending", "export": "spending", "books": "spending", "plan": "spending",
    "statement": "statements",
    "listen": "listening", "trigger": "listening",
    "webhooks": "hooks", "keys": "keys",
    "login": "accounts", "logout": "accounts", "whoami": "accounts", "config": "accounts",
    "admin": "administration", "api": "administration", "completion": "administration", "doctor": "administration",
}  # fmt: skip


class Commands(click.Group):
    """Loads a command when it is called, so that each starts quickly."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """In the order of the table above."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(import_module(f"joyfull.cli.{module}"), name or cmd_name)
        return found


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(version_line(), nl=False)
        context.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--profile", metavar="NAME", help="A section of config.toml.")
@click.option("--base-url", metavar="URL", help="Base URL of the platform.")
@click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colors on stdout and stderr."
)
@click.option("--quiet", "-q", is_flag=True, help="Print only errors on stderr.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
@click.option("--request-timeout", type=float, default=30.0, metavar="S", help="Seconds for one request.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
@click.pass_context
def root(
    context: click.Context,
    *,
    profile: str | None,
    base_url: str | None,
    color: str,
    quiet: bool,
    yes: bool,
    request_timeout: float,
) -> None:
    """AI tools as billed, durable jobs, from the shell.

    Data is on stdout, everything else on stderr. Exit status: 0 done, 1 API or network, 2 usage, 3 not succeeded,
    4 not allowed, 5 not found, 6 budget exhausted, 7 the wait ended and the job continues, 8 the books differ,
    130 interrupted.
    """
    context.obj = App(Terminal(color=color, quiet=quiet), profile, base_url, yes, request_timeout)


def run(arguments: list[str]) -> int:
    """Run a command line; the exit status."""
    try:
        return int(root.main(arguments, prog_name="joyfull", standalone_mode=False) or 0)
    except JoyfullError as error:
        return _refused(error, arguments)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE if isinstance(error, click.UsageError) else error.exit_code
    except (click.Abort, KeyboardInterrupt):
        Terminal().problem("interrupted; nothing was sent")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE


def _refused(error: JoyfullError, arguments: list[str]) -> int:
    terminal = Terminal()
    if isinstance(error, ApiError) and {"--json", "--json-lines", "json", "ndjson"} & set(arguments):
        sys.stderr.write(compact(error.problem) + "\n")
    else:
        terminal.problem(str(error))
        if status_of(error) == Exit.GOES_ON:
            terminal.note(f"  joyfull wait {error.job.id}")  # type: ignore[attr-defined]
        if isinstance(error, Unauthenticated):
            terminal.note("  joyfull login creates and stores a key; JOYFULL_API_KEY takes precedence")
    return status_of(error)
