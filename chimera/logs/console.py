"""A line for a person: time, level, layer, event, message, and the details behind it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, TextIO, cast

from .line import LogLine

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31"}


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Colours only on a terminal, and never when ``NO_COLOR`` is set (https://no-color.org) or the terminal is dumb."""
    return stream.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def console_line(line: LogLine, *, colour: bool = False) -> str:
    """The line without its newline. Control characters are escaped: a message can't draw on the terminal."""
    clock = time.strftime("%H:%M:%S", time.localtime(line.at))
    level = _paint(f"{line.level:<7}", _COLOURS[line.level], colour=colour)
    name = _paint(f"{line.event or line.logger:<15}", "1", colour=colour)
    head = f"{_paint(clock, '2', colour=colour)} {level} {line.layer:<10} {name}"
    context = {"actor": line.actor, "message_id": line.message_id}
    details = {**{name: value for name, value in context.items() if value}, **line.fields}
    tail = " ".join(f"{_plain(name)}={_value(value)}" for name, value in details.items())
    text = "  ".join(part for part in (head, _plain(line.message), _paint(tail, "2", colour=colour)) if part)
    return text + "".join(f"\n    {_plain(row)}" for row in line.error.splitlines())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _plain(",".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value))
    return f'"{text}"' if " " in text and isinstance(value, str) else text


def _plain(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _paint(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and text else text
