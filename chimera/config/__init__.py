"""Settings: declared once, loaded from five places, each value with its source."""

from .load import Loaded, load, node_name
from .secret import is_secret_name, redact, redact_text
from .settings import (
    AgentSettings,
    BreakerSettings,
    Declared,
    HttpSettings,
    KpiSettings,
    LogSettings,
    NatsSettings,
    NodeSettings,
    PortSettings,
    SandboxSettings,
    Settings,
    StoreSettings,
    declared,
)
from .table import SettingInForce, SettingRow, default_toml, in_force, settings_table
from .tree import ChildSettings, SupervisorSettings, parse_tree
from .units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "AgentSettings",
    "BreakerSettings",
    "ChildSettings",
    "Declared",
    "HttpSettings",
    "KpiSettings",
    "Loaded",
    "LogSettings",
    "NatsSettings",
    "NodeSettings",
    "PortSettings",
    "SandboxSettings",
    "SettingInForce",
    "SettingRow",
    "Settings",
    "StoreSettings",
    "SupervisorSettings",
    "declared",
    "default_toml",
    "format_duration",
    "format_size",
    "in_force",
    "is_secret_name",
    "load",
    "node_name",
    "parse_duration",
    "parse_size",
    "parse_tree",
    "redact",
    "redact_text",
    "settings_table",
]
