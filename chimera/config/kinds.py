"""The kinds a setting can have: each parses what a person wrote and says what it allows."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from subjects import is_token

from .units import format_duration, format_size, parse_duration, parse_size

T_co = TypeVar("T_co", covariant=True)

_SWITCH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class Kind(Protocol[T_co]):
    """How one setting is read and shown."""

    @property
    def name(self) -> str:
        """Its type, in one word, for the table of settings."""
        ...

    @property
    def allowed(self) -> str:
        """What is allowed, to finish the sentence "it must be ..."."""
        ...

    def parse(self, raw: object, *, text: bool) -> T_co:
        """The value. ``text`` is true if it comes from a variable or a flag, where everything is a string.

        Raises:
            ValueError: If it is not allowed.
        """
        ...

    def show(self, value: Any) -> str:
        """The value as a TOML literal."""
        ...


def _refuse() -> ValueError:
    return ValueError("not allowed")


@dataclass(frozen=True, slots=True)
class Text:
    """A string; with ``choices`` one of them, with ``token`` one that may become a subject token."""

    choices: tuple[str, ...] = ()
    token: bool = False
    what: str = "a string"
    name: str = "text"

    @property
    def allowed(self) -> str:
        """The choices, or the pattern."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        return "1 to 64 of A-Z a-z 0-9 _ -" if self.token else self.what

    def parse(self, raw: object, *, text: bool) -> str:
        """A string; choices are taken in any case."""
        del text
        if not isinstance(raw, str) or "\0" in raw:
            raise _refuse()
        if self.choices and raw.lower() not in self.choices:
            raise _refuse()
        if self.token and raw and not is_token(raw):
            raise _refuse()
        return raw.lower() if self.choices else raw

    def show(self, value: Any) -> str:
        """A quoted string."""
        return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Names:
    """A list of strings; in a variable they stand between commas."""

    choices: tuple[str, ...]
    name: str = "list"

    @property
    def allowed(self) -> str:
        """Which names."""
        return "a list of some of " + ", ".join(self.choices)

    def parse(self, raw: object, *, text: bool) -> tuple[str, ...]:
        """The names, each once."""
        if text and isinstance(raw, str):
            raw = [part.strip() for part in raw.split(",") if part.strip()]
        if not isinstance(raw, list | tuple):
            raise _refuse()
        names = tuple(dict.fromkeys(cast("list[object]", raw)))
        if not names or any(name not in self.choices for name in names):
            raise _refuse()
        return cast("tuple[str, ...]", names)

    def show(self, value: Any) -> str:
        """A list of quoted strings."""
        return json.dumps(list(value), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    name: str = "switch"
    allowed: str = "true or false"

    def parse(self, raw: object, *, text: bool) -> bool:
        """True or false; in a variable also yes, no, on, off, 1, 0."""
        if text and isinstance(raw, str):
            raw = _SWITCH.get(raw.strip().lower())
        if not isinstance(raw, bool):
            raise _refuse()
        return raw

    def show(self, value: Any) -> str:
        """``true`` or ``false``."""
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number between two bounds."""

    low: int
    high: int
    name: str = "integer"

    @property
    def allowed(self) -> str:
        """The bounds."""
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, raw: object, *, text: bool) -> int:
        """A whole number."""
        value = int(raw) if text and isinstance(raw, str) else raw
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            raise _refuse()
        return value

    def show(self, value: Any) -> str:
        """The number."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes between two bounds."""

    low: int
    high: int
    name: str = "size"

    @property
    def allowed(self) -> str:
        """The bounds."""
        return f"a size from {format_size(self.low)} to {format_size(self.high)}, such as 16Mi"

    def parse(self, raw: object, *, text: bool) -> int:
        """Bytes, from a size or a plain number."""
        del text
        value = parse_size(raw) if isinstance(raw, str) else raw
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            raise _refuse()
        return value

    def show(self, value: Any) -> str:
        """A quoted size."""
        return f'"{format_size(value)}"'


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration between two bounds, kept in seconds or, with ``unit`` ``ms``, in milliseconds."""

    low: float
    high: float
    unit: str = "s"
    name: str = "duration"

    @property
    def _factor(self) -> float:
        return 1000.0 if self.unit == "ms" else 1.0

    @property
    def allowed(self) -> str:
        """The bounds."""
        low, high = (format_duration(bound / self._factor) for bound in (self.low, self.high))
        return f"a duration from {low} to {high}, such as 30s; a plain number counts in {self.unit}"

    def parse(self, raw: object, *, text: bool) -> float:
        """The number in the setting's own unit."""
        value = self._from_text(raw, plain=text) if isinstance(raw, str) else raw
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise _refuse()
        if not self.low <= value <= self.high:
            raise _refuse()
        return float(value)

    def _from_text(self, raw: str, *, plain: bool) -> float:
        try:
            return round(parse_duration(raw) * self._factor, 9)
        except ValueError:
            if not plain:
                raise
            return float(raw)

    def show(self, value: Any) -> str:
        """A quoted duration."""
        return f'"{format_duration(value / self._factor)}"'
