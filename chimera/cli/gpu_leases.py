"""``chimera gpu lease``, ``renew``, ``release``, ``leases``: leases by hand."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from .command import Command, Exit
from .output import emit_json, note, table
from .settings import load_settings


def _ask(options: argparse.Namespace, operation: Any, body: dict[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
    from .client import with_client

    settings = load_settings(options).settings
    return with_client(settings, lambda client: client.ask(operation, body, timeout_s=timeout_s))


# -- lease -------------------------------------------------------------------------------------------------------------


def _lease_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=("gpu", "cpu"), default="gpu", help="GPUs, or processors of a node (gpu)")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="how many, all at once (1)")
    parser.add_argument("--milli", type=int, default=1000, metavar="N", help="thousandths of each; 1000 = whole (1000)")
    parser.add_argument("--memory", type=int, default=0, metavar="MIB", help="memory on each (its share)")
    parser.add_argument("--cpu-milli", type=int, default=0, metavar="N", help="processors beside GPUs, in thousandths")
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="any of these models")
    parser.add_argument("--capability", default="", metavar="X.Y", help="least compute capability")
    parser.add_argument("--node", default="", metavar="NAME", help="on this node only")
    parser.add_argument("--many-nodes", action="store_true", help="the devices may stand on several nodes")
    parser.add_argument("--id", default="", help="makes it repeatable: the same id is the same lease")
    parser.add_argument("--ttl", type=float, default=300.0, metavar="SECONDS", help="time to live (300)")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait for devices so long (0)")
    parser.add_argument("--priority", type=int, default=50, metavar="0..100", help="larger comes first (50)")
    parser.add_argument("--preemptible", action="store_true", help="may be taken back, with notice")
    parser.add_argument("--tenant", default="default", help="whose quota and budget count")
    parser.add_argument("--layer", default="operator", help="who uses it, in the ledger")


def _lease(options: argparse.Namespace) -> int:
    from subjects.lease import ALLOCATE

    need = {
        "kind": options.kind, "devices": options.devices, "milli": options.milli, "memory_mib": options.memory,
        "cpu_milli": options.cpu_milli, "models": options.model, "capability": options.capability,
        "node": options.node, "one_node": not options.many_nodes,
    }  # fmt: skip
    body = {
        "id": options.id, "need": need, "layer": options.layer, "tenant": options.tenant, "ttl_s": options.ttl,
        "priority": options.priority, "wait_s": options.wait, "preemptible": options.preemptible,
    }  # fmt: skip
    answer = _ask(options, ALLOCATE, body, options.wait + 10.0)
    if options.json:
        emit_json(answer)
        return Exit.DONE
    for name, value in sorted(answer["environment"].items()):  # for: eval "$(chimera gpu lease ...)"
        print(f"export {name}={value!r}" if value else f"export {name}=")
    note(f"lease {answer['id']} until {_clock(answer['expires_at'])}, token {answer['token']}")
    return Exit.DONE


# -- renew, release ----------------------------------------------------------------------------------------------------


def _renew_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", help="the lease")
    parser.add_argument("--token", type=int, required=True, help="its token")
    parser.add_argument("--ttl", type=float, metavar="SECONDS", help="from now on (as it was)")


def _renew(options: argparse.Namespace) -> int:
    from subjects.lease import RENEW

    body: dict[str, Any] = {"id": options.id, "token": options.token}
    answer = _ask(options, RENEW, body | ({} if options.ttl is None else {"ttl_s": options.ttl}))
    if options.json:
        emit_json(answer)
    else:
        words = f", taken back at {_clock(answer['revoke_at'])}: {answer['reason']}" if answer["revoke_at"] else ""
        note(f"lease {answer['id']} until {_clock(answer['expires_at'])}{words}")
    return Exit.DONE


def _release_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", help="the lease, or the request that waits")
    parser.add_argument("--token", type=int, help="only if this is its token")


def _release(options: argparse.Namespace) -> int:
    from subjects.lease import RELEASE

    answer = _ask(options, RELEASE, {"id": options.id, "token": options.token})
    if options.json:
        emit_json(answer)
    else:
        note(f"lease {answer['id']} {answer['state']}")
    return Exit.DONE


# -- leases ------------------------------------------------------------------------------------------------------------


def _leases_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", default="", help="of this tenant only")
    parser.add_argument("--layer", default="", help="of this layer only")
    parser.add_argument("--node", default="", metavar="NAME", help="on this node only")


def _leases(options: argparse.Namespace) -> int:
    from subjects.lease import LEASES

    answer = _ask(options, LEASES, {"tenant": options.tenant, "layer": options.layer, "node": options.node})
    if options.json:
        emit_json(answer)
        return Exit.DONE
    columns = ("lease", "state", "tenant", "layer", "agent", "priority", "devices", "until")
    table(columns, [
        (
            one["id"], one["state"], one["tenant"], one["layer"], one["agent"], one["priority"],
            ", ".join(f"{grant['device']} {grant['milli']}" for grant in one["grants"]), _clock(one["expires_at"]),
        )
        for one in answer["leases"]
    ])  # fmt: skip
    for one in answer["waiting"]:
        note(f"{one['id']} waits, number {one['position']}: {one['reason']}")
    return Exit.DONE


def _clock(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


LEASE_VERBS: tuple[Command, ...] = (
    Command("lease", "lease devices", "chimera gpu lease --devices 2 --ttl 600 --wait 60", _lease_arguments, _lease),
    Command("renew", "extend a lease", "chimera gpu renew lease-1 --token 123", _renew_arguments, _renew),
    Command("release", "give a lease back", "chimera gpu release lease-1", _release_arguments, _release),
    Command("leases", "leases, and requests that wait", "chimera gpu leases", _leases_arguments, _leases),
)
