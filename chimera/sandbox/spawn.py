"""Starts our helper processes with an environment that holds nothing but where Python finds its modules."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])


def bare_environment() -> dict[str, str]:
    """Our import path and what we do about bytecode, and nothing besides: no credentials, no proxies, no settings.

    A helper may write bytecode where we would: what only helpers import would be compiled at every start otherwise.
    """
    paths = [_ROOT, *(str(Path(entry).resolve()) for entry in sys.path if entry)]
    bare = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "LC_ALL": "C.UTF-8"}
    if sys.dont_write_bytecode:
        bare["PYTHONDONTWRITEBYTECODE"] = "1"
    if sys.pycache_prefix:
        bare["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    return bare


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs one of our modules."""
    return [sys.executable, "-P", "-s", "-m", module, *arguments]


def start_worker(api: str, *, pooling: bool, memory_bytes: int) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A worker process and our end of its socket. Blocks for the length of a fork: call it from a thread."""
    ours, theirs = socket.socketpair()
    descriptor = theirs.fileno()
    arguments = [str(descriptor), api, "pooling" if pooling else "plain", str(memory_bytes)]
    try:
        process = subprocess.Popen(
            command("chimera.sandbox.worker", *arguments), env=bare_environment(), cwd="/", pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return process, ours
