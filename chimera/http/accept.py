"""Which of two forms a client likes better (RFC 9110, section 12.5.1). Pure."""

from __future__ import annotations

HTML, JSON = ("text", "html"), ("application", "json")
_MOST_RANGES = 64


def prefers_html(accept: bytes | None) -> bool:
    """True if the client gives HTML a higher quality than JSON; without a preference it gets JSON."""
    if not accept or b"html" not in accept.lower():
        return False
    ranges = [_parse(part) for part in accept.decode("latin-1").lower().split(",")[:_MOST_RANGES]]
    return _quality(HTML, ranges) > _quality(JSON, ranges)


def _parse(part: str) -> tuple[str, str, float]:
    """Type, subtype and quality of one range; what can't be read has quality 0."""
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    main, _, sub = kind.partition("/")
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            quality = _number(value.strip())
    return main, sub, quality


def _number(text: str) -> float:
    digits = text.replace(".", "", 1)
    return min(1.0, float(text)) if digits.isascii() and digits.isdigit() else 0.0


def _quality(form: tuple[str, str], ranges: list[tuple[str, str, float]]) -> float:
    """The quality of the most specific range that covers the form; 0 if none does."""
    for wanted in (form, (form[0], "*"), ("*", "*")):
        found = [quality for main, sub, quality in ranges if (main, sub) == wanted]
        if found:
            return max(found)
    return 0.0
