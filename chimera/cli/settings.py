"""The settings that a command line gives."""

from __future__ import annotations

import argparse
from pathlib import Path

from chimera.config import Loaded, load
from chimera.errors import BadSettingError


def load_settings(options: argparse.Namespace) -> Loaded:
    """Settings from options, environment, file and profile.

    Raises:
        BadSettingError: If one is unknown or wrong; the detail names it and its source.
    """
    flags: dict[str, str] = {}
    for pair in options.set:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadSettingError(f"--set {pair}: write KEY=VALUE", hint="as in --set http.ports.agent=9000")
        flags[key] = value
    given = {"node.data_dir": options.data_dir, "nats.url": options.nats_url}
    flags |= {key: value for key, value in given.items() if value}
    return load(profile=options.profile, file=Path(options.config) if options.config else None, flags=flags)
