"""``chimera docs``: documents that are generated from the code."""

from __future__ import annotations

import argparse
import json

from subjects import OPERATIONS, Port

from .command import Command, Exit
from .output import emit_json

_COMPLETION = """# bash completion for chimera: source <(chimera docs completion)
_chimera() {{
  local word=${{COMP_WORDS[COMP_CWORD]}}
  case "${{COMP_WORDS[1]}}" in
    call) [ "$COMP_CWORD" = 2 ] && COMPREPLY=($(compgen -W "{operations}" -- "$word")) ;;
    *) [ "$COMP_CWORD" = 1 ] && COMPREPLY=($(compgen -W "{commands}" -- "$word")) ;;
  esac
}}
complete -F _chimera chimera"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    topics = ("openapi", "asyncapi", "settings", "metrics", "commands", "completion")
    parser.add_argument("topic", choices=topics, help="what to print")
    parser.add_argument(
        "--port", choices=[port.name.lower() for port in Port], default="agent", help="openapi: the role"
    )


def _run(options: argparse.Namespace) -> int:
    if options.topic in ("openapi", "asyncapi"):
        from chimera.documents import asyncapi, openapi

        document = openapi(Port[options.port.upper()]) if options.topic == "openapi" else asyncapi()
        print(json.dumps(document, indent=2))
        return Exit.DONE
    text = {"settings": _settings, "metrics": _metrics, "commands": _commands, "completion": _completion}[
        options.topic
    ]()
    emit_json({"text": text}) if options.json else print(text)
    return Exit.DONE


def _settings() -> str:
    from chimera.config import settings_table

    rows = ["| setting | default | variable | meaning |", "| --- | --- | --- | --- |"]
    rows += [f"| `{row.name}` | `{row.default}` | `{row.variables[0]}` | {row.meaning} |" for row in settings_table()]
    return "\n".join(rows)


def _metrics() -> str:
    from chimera.metrics import metrics_table

    return metrics_table()


def _commands() -> str:
    from .main import COMMANDS, load

    rows = ["| command | what it does | example |", "| --- | --- | --- |"]
    for name in COMMANDS:
        command = load(name)
        rows.append(f"| `{command.name}` | {command.summary} | `{command.example}` |")
    return "\n".join(rows)


def _completion() -> str:
    from .main import COMMANDS

    operations = " ".join(operation.name for operation in OPERATIONS)
    return _COMPLETION.format(operations=operations, commands=" ".join(COMMANDS))


COMMAND = Command("docs", "documents generated from the code", "chimera docs openapi", _arguments, _run)
