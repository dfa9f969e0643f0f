"""One nkey per role, made at the first start. Seeds stay in their files: never in arguments, environments or logs."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from chimera.errors import BadSettingError

from .private import make_private_folder, read_private, write_private
from .roles import RoleName


def seed_path(folder: Path, role: RoleName) -> Path:
    """Where a role's seed lies: what a client is given to log in with."""
    return folder / f"{role}.nk"


def ensure_keys(folder: Path, names: Iterable[RoleName]) -> dict[RoleName, str]:
    """Each role's public key; missing seeds are made.

    Raises:
        BadSettingError: If a seed file can't be written, read, or is damaged.
    """
    make_private_folder(folder)
    return {name: _public_key(seed_path(folder, name)) for name in names}


def _public_key(path: Path) -> str:
    # Only now: it loads PyNaCl, 4 MB. As Any: it has no type annotations.
    nkeys: Any = import_module("nkeys")

    seed = read_private(path)
    if seed is None:
        seed = bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER))
        # No newline at the end: nats-py takes the file's bytes as the seed.
        write_private(path, seed)
    try:
        public = bytes(nkeys.from_seed(bytearray(seed.strip())).public_key).decode()
    except (nkeys.NkeysError, ValueError) as error:
        raise _damaged(path) from error
    if not public.startswith("U"):
        raise _damaged(path)
    return public


def _damaged(path: Path) -> BadSettingError:
    return BadSettingError(
        f"node.data_dir: {path} holds no user seed", hint="delete the file; a new one is made at the next start"
    )
