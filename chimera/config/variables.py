"""Settings from environment variables: ``CHIMERA_HTTP__PORTS__AGENT``, and a few names that people already use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from chimera.errors import BadSettingError

from .settings import Declared

_PREFIX = "CHIMERA_"
_KUBERNETES = re.compile(r"CHIMERA(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_[A-Z0-9_]+)?)\Z")
"""What Kubernetes sets in every pod beside a service called chimera; never a setting of ours."""

ALIASES = {
    "WASM_MEMORY_LIMIT": "sandbox.memory_limit_bytes",
    "LOG_LEVEL": "log.level",
    "NATS_SERVER": "nats.server",
    "CHIMERA_STORE": "store.url",
}
"""Other names that are honoured, below the CHIMERA_ form of the setting."""


def from_environment(env: Mapping[str, str], known: Mapping[str, Declared]) -> tuple[dict[str, object], dict[str, str]]:
    """Dotted names to values and to the variables they came from. An empty alias counts as unset.

    Raises:
        BadSettingError: If a CHIMERA_ variable is no setting.
    """
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for variable, key in ALIASES.items():
        if env.get(variable):
            values[key], sources[key] = _alias(key, env[variable]), variable
    by_variable = {one.variable: key for key, one in known.items()}
    for variable in sorted(env):
        if not variable.startswith(_PREFIX) or variable in ALIASES or _is_kubernetes(variable):
            continue
        key = by_variable.get(variable)
        if key is None:
            near = get_close_matches(variable, list(by_variable), n=1)
            raise BadSettingError(
                f"the variable {variable} is no setting" + (f"; did you mean {near[0]}?" if near else "")
            )
        values[key], sources[key] = env[variable], variable
    return values, sources


def _is_kubernetes(variable: str) -> bool:
    return "__" not in variable and _KUBERNETES.match(variable) is not None


def _alias(key: str, value: str) -> str:
    """Python's own word for the level is understood too."""
    return {"warn": "warning", "critical": "error"}.get(value.lower(), value) if key == "log.level" else value
