"""Sizes, durations and secrets for any input."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from chimera.config import (
    declared,
    format_duration,
    format_size,
    is_secret_name,
    parse_duration,
    parse_size,
    redact,
)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_sizes_come_back(size: int):
    """Any number of bytes survives being written and read."""
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**6), st.sampled_from(["Ki", "Mi", "Gi", "KiB", " Mi"]))
def test_binary_sizes(count: int, unit: str):
    """A count of a binary unit is that many times a power of 1024."""
    power = {"K": 1, "M": 2, "G": 3}[unit.strip()[0]]
    assert parse_size(f"{count}{unit}") == count * 1024**power


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False))
def test_durations_come_back(seconds: float):
    """Any duration survives being written and read, exactly."""
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, rel_tol=1e-15, abs_tol=0.0)


@given(st.integers(min_value=0, max_value=10**9))
def test_whole_durations_have_no_fraction(seconds: int):
    """Whole seconds are written with units from days to seconds and come back exactly."""
    text = format_duration(float(seconds))
    assert "." not in text
    assert parse_duration(text) == seconds


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_refused(text: str):
    """No text makes the parsers fail in any other way than by ValueError."""
    for parse in (parse_size, parse_duration):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value >= 0


@given(st.data())
def test_shown_values_parse_back(data: st.DataObject):
    """What a kind shows of an allowed number, it reads again as the same number."""
    one = data.draw(st.sampled_from([one for one in declared() if one.kind.name in {"size", "integer"}]))
    value = data.draw(st.integers(min_value=one.kind.low, max_value=one.kind.high))  # type: ignore[attr-defined] - these two kinds have bounds
    assert one.kind.parse(one.kind.show(value).strip('"'), text=True) == value


@given(
    st.sampled_from(["token", "api_key", "apiKey", "httpToken", "PASSWORD", "client-secret", "Authorization", "seed"]),
    st.text(min_size=1, max_size=40),
    st.lists(st.sampled_from(["a", "b"]), max_size=4),
)
def test_secrets_are_hidden_wherever_they_stand(name: str, secret: str, path: list[str]):
    """A text under a secret's name is hidden at any depth; a number is none."""
    value: object = {name: secret, f"{name}_count": 3}
    for key in path:
        value = {key: [value]}
    found = redact(value)
    for key in reversed(path):
        found = found[key][0]
    assert found[name] == "***"
    assert found[f"{name}_count"] == 3
    assert is_secret_name(name)


@given(st.sampled_from(["keynote", "tokenizer_size", "passenger", "key", "monkey", "seedling", "name"]))
def test_innocent_names_stay(name: str):
    """Names that only contain such a word in another word are no secrets."""
    assert not is_secret_name(name)
