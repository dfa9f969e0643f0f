"""Leases and devices as they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from subjects.device import DeviceView, GrantView, Health
from subjects.lease import Grant as GrantPart
from subjects.lease import Lease, Need

from .census import Census
from .record import WHOLE, Grant, Record
from .waiting import Waiter

LEASE_VARIABLE, TOKEN_VARIABLE = "CHIMERA_LEASE_ID", "CHIMERA_LEASE_TOKEN"


def lease_view(lease: str, held: Sequence[tuple[Record, Grant]]) -> Lease:
    """A live lease, from its grants in the order of its devices; with how it ended if it did."""
    first = held[0][1]
    token = max(grant.token for _, grant in held)
    return Lease(
        id=lease, state=first.ended or "granted", layer=first.layer, tenant=first.tenant, agent=first.agent,
        priority=first.priority, token=token, ttl_s=first.ttl_s, granted_at=first.granted_at,
        expires_at=min(grant.expires_at for _, grant in held),
        grants=[
            GrantPart(
                device=record.id, node=record.node, kind=record.kind, milli=grant.milli, memory_mib=grant.memory_mib,
                token=grant.token,
            )
            for record, grant in held
        ],
        environment=environment(lease, token, held),
        revoke_at=max((grant.revoke_at for _, grant in held), default=0.0) or None,
        reason=next((grant.reason for _, grant in held if grant.reason), ""),
    )  # fmt: skip


def environment(lease: str, token: int, held: Sequence[tuple[Record, Grant]]) -> dict[str, str]:
    """Variables that keep a holder on its devices. CUDA and MPS take UUIDs; indices would change under it."""
    found = {LEASE_VARIABLE: lease, TOKEN_VARIABLE: str(token)}
    gpus = [(record, grant) for record, grant in held if record.kind == "gpu"]
    processors = sum(grant.milli for record, grant in held if record.kind == "cpu")
    found["CUDA_VISIBLE_DEVICES"] = ",".join(record.id for record, _ in gpus)
    if gpus:
        found["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if any(grant.milli < record.milli for record, grant in gpus):
        found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(max(1, min(grant.milli for _, grant in gpus) // 10))
        limits = (f"{number}={grant.memory_mib}M" for number, (_, grant) in enumerate(gpus))
        found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = ",".join(limits)
    if processors:
        found["OMP_NUM_THREADS"] = str(max(1, processors // WHOLE))
    return found


def over_view(lease: str, state: str) -> Lease:
    """A lease that ended a moment ago; its grants are not kept."""
    shown = state if state in {"released", "expired", "revoked"} else "released"
    return Lease(id=lease, state=shown, layer="", tenant="", agent="", priority=0)  # pyright: ignore[reportArgumentType] - one of the three


def waiting_view(waiter: Waiter, position: int, estimate_s: float | None) -> Lease:
    """A request that waits."""
    return Lease(
        id=waiter.id, state="waiting", layer=waiter.layer, tenant=waiter.tenant, agent=waiter.agent,
        priority=waiter.priority, need=waiter.need, asked_at=waiter.asked_at, position=position,
        estimate_s=estimate_s, reason=waiter.why,
    )  # fmt: skip


def device_view(record: Record, census: Census) -> DeviceView:
    """A device, with what its node told last."""
    told, at = census.told(record)
    health: Health = "silent" if not census.usable(record) else "trouble" if record.trouble else "ok"
    read = {
        name: getattr(told, name)
        for name in (
            "memory_used_mib", "utilization", "temperature_c", "power_w", "power_limit_w", "energy_j", "energy_source",
            "ecc_errors",
        )
        if told is not None
    }  # fmt: skip
    return DeviceView(
        id=record.id, node=record.node, kind=record.kind, model=record.model, capability=record.capability or None,
        health=health, trouble=record.trouble, drained=bool(record.drained), milli=record.milli,
        memory_mib=record.memory_mib, free_milli=max(0, record.free_milli), free_memory_mib=max(0, record.free_mib),
        foreign_mib=record.foreign_mib, grants=[_grant_view(grant) for grant in record.grants], parent=record.parent,
        told_at=at, **read,
    )  # fmt: skip


def _grant_view(grant: Grant) -> GrantView:
    return GrantView(
        lease=grant.lease, layer=grant.layer, tenant=grant.tenant, agent=grant.agent, milli=grant.milli,
        memory_mib=grant.memory_mib, token=grant.token, granted_at=grant.granted_at, expires_at=grant.expires_at,
        priority=grant.priority, ending=bool(grant.ended), revoke_at=grant.revoke_at or None,
    )  # fmt: skip


def need_of(held: Sequence[tuple[Record, Grant]]) -> Need:
    """What a lease has, as a need: for comparing a repeated request with it."""
    gpus = [(record, grant) for record, grant in held if record.kind == "gpu"]
    main = gpus or list(held)
    return Need(kind=main[0][0].kind, devices=len(main), milli=main[0][1].milli)
