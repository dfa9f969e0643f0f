"""Genomes: named values checked against a manifest's parameters, and the floats that a guest receives."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from chimera.errors import BadGenomeError
from subjects.agent import Genes, Parameter

Value = bool | float | int | str | list[float]


def complete_genome(
    parameters: Sequence[Parameter], given: Mapping[str, Any], carried: Mapping[str, Any] | None = None
) -> Genes:
    """The whole genome: what is given, else what is carried over, else the default, for every parameter.

    A parameter whose ``when`` does not hold keeps its default, so that genomes that behave alike are equal.

    Args:
        parameters: The manifest's genome, checked by ``check_manifest``.
        given: Values that a person or a layer asks for.
        carried: Values of the release before; unknown names in it are dropped.

    Raises:
        BadGenomeError: If a name is unknown, a value does not fit, or a given value would not count.
    """
    _refuse_unknown(parameters, given)
    genome: Genes = {}
    for parameter in parameters:
        value, explicit = _pick(parameter, given, carried or {})
        checked = check_value(parameter, value)
        if not _counts(parameter, genome):
            checked = _inactive(parameter, checked, explicit=explicit)
        genome[parameter.name] = checked
    return genome


def carry_genome(old: Sequence[Parameter], new: Sequence[Parameter], genome: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``genome`` that were set on purpose and still have a parameter.

    A value at the old manifest's default is left out, so that it follows the new manifest's default.
    """
    names = {parameter.name for parameter in new}
    defaults = {parameter.name: default_of(parameter) for parameter in old}
    return {name: value for name, value in genome.items() if name in names and value != defaults.get(name)}


def default_of(parameter: Parameter) -> Value:
    """The parameter's default; a vector repeats it ``size`` times."""
    if parameter.size > 1:
        return [float(parameter.default)] * parameter.size
    return _scalar(parameter, parameter.default)


def check_value(parameter: Parameter, value: Any) -> Value:
    """``value`` in the parameter's own type.

    Raises:
        BadGenomeError: If it has the wrong type or size, is not finite, out of bounds, or not a choice.
    """
    if parameter.size == 1:
        return _scalar(parameter, value)
    if not isinstance(value, list | tuple):
        raise BadGenomeError(f"{parameter.name}: a list of {parameter.size} numbers is needed, not {_kind(value)}")
    items = cast("Sequence[Any]", value)
    if len(items) != parameter.size:
        raise BadGenomeError(f"{parameter.name}: {parameter.size} numbers are needed, not {len(items)}")
    return [_number(parameter, item, f"{parameter.name}[{index}]") for index, item in enumerate(items)]


def flatten_genome(parameters: Sequence[Parameter], genome: Mapping[str, Any]) -> tuple[float, ...]:
    """One float per gene in the manifest's order: booleans as 0 or 1, categories as their index, vectors in line."""
    genes: list[float] = []
    for parameter in parameters:
        value = genome[parameter.name]
        if parameter.size > 1:
            genes.extend(float(item) for item in value)
        elif parameter.type == "categorical":
            genes.append(float(parameter.choices.index(value)))
        else:
            genes.append(float(value))
    return tuple(genes)


def _refuse_unknown(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> None:
    names = [parameter.name for parameter in parameters]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the manifest declares: {', '.join(names[:20]) or 'none'}"
            raise BadGenomeError(f"there is no parameter '{name}'", hint=hint)


def _pick(parameter: Parameter, given: Mapping[str, Any], carried: Mapping[str, Any]) -> tuple[Any, bool]:
    if parameter.name in given:
        return given[parameter.name], True
    return carried.get(parameter.name, default_of(parameter)), False


def _counts(parameter: Parameter, genome: Genes) -> bool:
    return all(genome.get(name) == wanted for name, wanted in parameter.when.items())


def _inactive(parameter: Parameter, value: Value, *, explicit: bool) -> Value:
    default = default_of(parameter)
    if explicit and value != default:
        wanted = " and ".join(f"{name} = {wish}" for name, wish in parameter.when.items())
        raise BadGenomeError(f"{parameter.name} counts only while {wanted}", hint="set that too, or leave it out")
    return default


def _scalar(parameter: Parameter, value: Any) -> bool | float | int | str:
    if parameter.type == "boolean":
        if not isinstance(value, bool):
            raise BadGenomeError(f"{parameter.name}: true or false is needed, not {_kind(value)}")
        return value
    if parameter.type == "categorical":
        return _choice(parameter, value)
    return _number(parameter, value, parameter.name)


def _choice(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str) or value not in parameter.choices:
        raise BadGenomeError(f"{parameter.name}: one of {', '.join(parameter.choices)} is needed, not {value!r:.80}")
    return value


def _number(parameter: Parameter, value: Any, where: str) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadGenomeError(f"{where}: a number is needed, not {_kind(value)}")
    if isinstance(value, int) and abs(value) > 1 << 53:
        raise BadGenomeError(f"{where}: at most 2^53 is taken, for a guest receives floats")
    if not math.isfinite(value):
        raise BadGenomeError(f"{where}: a finite number is needed")
    low, high = parameter.low, parameter.high
    if (low is not None and value < low) or (high is not None and value > high):
        raise BadGenomeError(f"{where}: {value} is outside {_bounds(low, high)}")
    if parameter.type == "real":
        return float(value)
    if value != int(value):
        raise BadGenomeError(f"{where}: a whole number is needed, not {value}")
    return int(value)


def _bounds(low: float | None, high: float | None) -> str:
    return f"{'-inf' if low is None else low} to {'inf' if high is None else high}"


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(cast("type[Any]", type(value)), "something else")
