"""Manifests: whether what an agent says about itself is sound, true of its module, and within what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from chimera.errors import BadGenomeError, BadModuleError
from chimera.sandbox.contract import ModuleInfo
from subjects.agent import Limits, Manifest, Parameter

from .genome import check_value, default_of, flatten_genome

MAX_GENES = 65_536
"""Most floats that a guest receives."""


def check_manifest(manifest: Manifest, info: ModuleInfo, *, grants: Sequence[str], inline: bool) -> None:
    """Refuse a manifest that is unsound, does not fit its module, or asks for more than the operator grants.

    Args:
        manifest: What the agent says.
        info: What its module turned out to be.
        grants: What the operator allows, such as ``clock`` or ``emit:reports.>``.
        inline: Whether the operator allows guests inside the actor's own process.

    Raises:
        BadModuleError: With what does not fit.
        BadGenomeError: If the genome's declaration is unsound.
    """
    _check_tasks(manifest, info)
    check_grants(manifest.grants, grants)
    if manifest.placement == "inline" and not inline:
        raise BadModuleError("placement 'inline' is not allowed here", hint="use 'worker', or allow it in the settings")
    check_parameters(manifest.genome)
    if manifest.genome and not info.has_configure:
        raise BadModuleError("the manifest declares a genome, but the module does not export chimera_configure")


def tasks_of(manifest: Manifest, info: ModuleInfo) -> frozenset[str]:
    """The tasks that may be asked for: those the manifest names, else all that the module exports."""
    return frozenset(manifest.tasks or info.tasks)


def cap_limits(asked: Limits, cap: Limits) -> Limits:
    """What one task may use: what was asked for, but never more than the operator's cap."""
    return Limits(**{name: min(getattr(asked, name), getattr(cap, name)) for name in Limits.__struct_fields__})


def allows(pattern: str, subject: str) -> bool:
    """True if every subject that ``subject`` matches is matched by ``pattern`` too (NATS wildcards ``*`` and ``>``)."""
    wanted = subject.split(".")
    allowed = pattern.split(".")
    for index, part in enumerate(allowed):
        if part == ">":
            return len(wanted) > index
        if index >= len(wanted) or wanted[index] == ">":
            return False
        if part not in {"*", wanted[index]}:
            return False
    return len(wanted) == len(allowed)


def check_grants(asked: Sequence[str], allowed: Sequence[str]) -> None:
    """Refuse grants that nobody knows or that the operator does not allow.

    Raises:
        BadModuleError: With the grant.
    """
    for grant in asked:
        if not _known(grant):
            raise BadModuleError(f"unknown grant '{grant}'", hint="known are: clock, random, wasi, emit:<pattern>")
        if not any(_covers(rule, grant) for rule in allowed):
            raise BadModuleError(f"the grant '{grant}' is not allowed here", hint="the operator's settings list grants")


def check_parameters(parameters: Sequence[Parameter]) -> None:
    """Refuse a genome declaration that no genome could satisfy or that says two things.

    Raises:
        BadGenomeError: With the parameter's name.
    """
    seen: dict[str, Parameter] = {}
    for parameter in parameters:
        if parameter.name in seen:
            raise BadGenomeError(f"parameter '{parameter.name}' is declared twice")
        _check_parameter(parameter)
        _check_condition(parameter, seen)
        seen[parameter.name] = parameter
    genome = {parameter.name: default_of(parameter) for parameter in parameters}
    if len(flatten_genome(parameters, genome)) > MAX_GENES:
        raise BadGenomeError(f"more than {MAX_GENES} genes are declared")


def _check_tasks(manifest: Manifest, info: ModuleInfo) -> None:
    missing = [task for task in manifest.tasks if task not in info.tasks]
    if missing:
        found = ", ".join(info.tasks) or "none"
        raise BadModuleError(f"the module does not export the task '{missing[0]}'", hint=f"it exports: {found}")


def _known(grant: str) -> bool:
    pattern = grant.removeprefix("emit:")
    return grant in {"clock", "random", "wasi"} or (grant != pattern and all(pattern.split(".")))


def _covers(rule: str, grant: str) -> bool:
    if not (rule.startswith("emit:") and grant.startswith("emit:")):
        return rule == grant
    return allows(rule.removeprefix("emit:"), grant.removeprefix("emit:"))


def _check_parameter(parameter: Parameter) -> None:
    name, numeric = parameter.name, parameter.type in {"real", "integer"}
    bounds = [bound for bound in (parameter.low, parameter.high) if bound is not None]
    if not all(math.isfinite(bound) for bound in bounds):
        raise BadGenomeError(f"{name}: its bounds must be finite")
    if len(bounds) == 2 and bounds[0] > bounds[1]:  # noqa: PLR2004 - both are given
        raise BadGenomeError(f"{name}: low {bounds[0]} is above high {bounds[1]}")
    if bounds and not numeric:
        raise BadGenomeError(f"{name}: low and high belong to numbers, not to '{parameter.type}'")
    if parameter.size > 1 and not numeric:
        raise BadGenomeError(f"{name}: only numbers make a vector, not '{parameter.type}'")
    _check_choices(parameter)
    check_value(msgspec.structs.replace(parameter, size=1), parameter.default)


def _check_choices(parameter: Parameter) -> None:
    if (parameter.type == "categorical") != bool(parameter.choices):
        raise BadGenomeError(f"{parameter.name}: choices belong to 'categorical', which needs at least one")
    if len(set(parameter.choices)) != len(parameter.choices):
        raise BadGenomeError(f"{parameter.name}: a choice is listed twice")


def _check_condition(parameter: Parameter, earlier: dict[str, Parameter]) -> None:
    for name, wanted in parameter.when.items():
        other = earlier.get(name)
        if other is None or other.size > 1:
            raise BadGenomeError(
                f"{parameter.name}: 'when' must name a scalar parameter declared before it, not '{name}'"
            )
        check_value(other, wanted)
