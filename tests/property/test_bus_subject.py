"""Subjects: matching against a slow and obvious model, and validation against what a wire line can hold."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.bus.subject import check_pattern, check_size, check_subject, header_size, is_subject, matches
from chimera.errors import BadMessageError, TooLargeError

tokens = st.text("abc$_-", min_size=1, max_size=3)
subjects = st.lists(tokens, min_size=1, max_size=5).map(".".join)
patterns = st.tuples(st.lists(tokens | st.just("*"), min_size=0, max_size=4), tokens | st.sampled_from("*>")).map(
    lambda parts: ".".join([*parts[0], parts[1]])
)


def model(pattern: str, subject: str) -> bool:
    """The same as one regular expression."""
    text = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.fullmatch(text, subject) is not None


@given(patterns, subjects)
def test_matches_like_the_model(pattern: str, subject: str):
    """Wildcards mean what NATS says."""
    check_pattern(pattern)
    check_subject(subject)
    assert matches(pattern, subject) == model(pattern, subject)


@given(subjects)
def test_a_subject_matches_itself(subject: str):
    """A subject without wildcards is a pattern that matches itself and ``>``."""
    assert matches(subject, subject)
    assert matches(">", subject)


@given(st.text(max_size=20))
def test_what_is_accepted_fits_the_wire(text: str):
    """Whatever passes is non-empty tokens of printable ASCII: it can't end a protocol line or inject another."""
    if is_subject(text):
        assert all(text.split("."))
        assert not re.search(r"[^\x21-\x7e]|[*>]", text)
    else:
        with pytest.raises(BadMessageError):
            check_subject(text)


@given(st.dictionaries(st.text("Aa-1", min_size=1), st.text(st.characters(min_codepoint=33), max_size=20)))
def test_header_size_is_what_goes_over_the_wire(headers: dict[str, str]):
    """The size is counted as nats-py writes it."""
    try:
        header_size(headers)
    except BadMessageError:
        assert any(value != value.strip() or not value.isprintable() for value in headers.values())
        return
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    assert header_size(headers) == len(f"NATS/1.0\r\n{lines}\r\n".encode())


@given(st.integers(0, 200))
def test_size_limit_is_exact(size: int):
    """The largest message passes, one byte more does not."""
    headers = {"A": "b"}
    limit = size + header_size(headers)
    check_size(b"x" * size, headers, limit)
    with pytest.raises(TooLargeError):
        check_size(b"x" * (size + 1), headers, limit)
