"""``chimera gpu run -- CMD``: run a command under a lease, which it may use exactly as long as it has it."""

from __future__ import annotations

import argparse
import os
import signal
from typing import TYPE_CHECKING, Any

from chimera.errors import (
    BadMessageError,
    ChimeraError,
    DeadlineError,
    DeniedError,
    LayerNotRunningError,
    UnavailableError,
)

from .command import Command, Exit
from .output import complain, note
from .settings import load_settings

if TYPE_CHECKING:
    import anyio

    from chimera.config import Settings
    from chimera.devices.tenure import Tenure

    from .client import Client
    from .held import HeldCommand

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_WAIT_EACH_S = 20.0
_LOOK_S = 1.0
_TRY_S = 0.5
_LOST = frozenset({"no-lease", "fenced", "conflict", "denied"})
"""Answers to a renewal after which there is nothing to renew any more."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--kind", choices=("gpu", "cpu"), default="gpu", help="GPUs, or processors of this node (gpu)")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="how many, all at once (1)")
    parser.add_argument("--milli", type=int, default=1000, metavar="N", help="thousandths of each; 1000 = whole (1000)")
    parser.add_argument("--memory", type=int, default=0, metavar="MIB", help="memory on each (its share)")
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="any of these models")
    parser.add_argument("--capability", default="", metavar="X.Y", help="least compute capability")
    parser.add_argument("--node", default="", help="name of this machine's node (node.name)")
    parser.add_argument("--ttl", type=float, default=60.0, metavar="SECONDS", help="time to live of the lease (60)")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait for devices so long (0)")
    parser.add_argument("--priority", type=int, default=50, metavar="0..100", help="larger comes first (50)")
    parser.add_argument("--preemptible", action="store_true", help="may be taken back, with notice")
    parser.add_argument("--tenant", default="default", help="whose quota and budget count")
    parser.add_argument("--layer", default="operator", help="who uses it, in the ledger")
    parser.add_argument(
        "command_line", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments"
    )


def run(options: argparse.Namespace) -> int:
    """Lease, run, release; gives the command's own exit code.

    Raises:
        BadMessageError: If no command was given.
    """
    from .client import with_client

    line = options.command_line[1:] if options.command_line[:1] == ["--"] else options.command_line
    if not line:
        raise BadMessageError("no command to run", hint="write it last: chimera gpu run --devices 1 -- python train.py")
    settings = load_settings(options).settings
    return with_client(settings, lambda client: LeasedRun(client, _request(options, settings), line).main(options.wait))


def _request(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    need = {
        "kind": options.kind, "devices": options.devices, "milli": options.milli, "memory_mib": options.memory,
        "models": options.model, "capability": options.capability, "node": options.node or settings.node.name,
    }  # fmt: skip
    return {
        "id": f"run-{os.getpid()}-{os.urandom(4).hex()}", "need": need, "layer": options.layer,
        "tenant": options.tenant, "priority": options.priority, "ttl_s": options.ttl,
        "preemptible": options.preemptible,
    }  # fmt: skip


class LeasedRun:
    """One command under one lease.

    Args:
        client: Asks the broker.
        request: The body of ``gpu_broker.allocate``, with an id.
        line: Program and arguments.
    """

    def __init__(self, client: Client, request: dict[str, Any], line: list[str]) -> None:
        self._client, self._request, self._line = client, request, line
        self._id, self._ttl_s = str(request["id"]), float(request["ttl_s"])
        self._lease: dict[str, Any] = {}
        self._tenure: Tenure | None = None
        self._lost = ""

    async def main(self, wait_s: float) -> int:
        """Lease, run, release. However it ends, nothing of the command is left when the lease is given back."""
        import anyio

        try:
            await self._allocate(wait_s)
            await self._enter()
            return await self._run()
        finally:
            with anyio.move_on_after(3.0, shield=True):
                await self._release()

    # -- getting the lease ---------------------------------------------------------------------------------------------

    async def _allocate(self, wait_s: float) -> None:
        import anyio

        from chimera.devices.tenure import boot_time

        refused: ChimeraError | None = None
        async with anyio.create_task_group() as tasks:
            if wait_s:
                tasks.start_soon(self._show_position)
            refused = await self._try_until(boot_time() + wait_s)
            tasks.cancel_scope.cancel()
        if refused is not None:
            raise refused
        tenure = self._need_tenure()
        if boot_time() >= tenure.renew_at:  # most of its first term went by while we waited
            await self._renew(tenure)
        note(f"lease {self._id}: {', '.join(grant['device'] for grant in self._lease['grants'])}")

    async def _try_until(self, until: float) -> ChimeraError | None:
        """Ask again and again, with the same id, which keeps its place; what stands in the way at the end."""
        import anyio

        from chimera.devices.tenure import Tenure, boot_time

        unclear: float | None = None
        while True:
            asked = boot_time()
            sent = asked if unclear is None else unclear
            try:
                self._lease = await self._ask_for_it(max(0.0, min(until - asked, _WAIT_EACH_S)))
            except ChimeraError as error:
                if not _worth_waiting(error) or boot_time() >= until:
                    return error
                # what was not answered may have been granted: then its time runs since
                unclear = None if error.executed == "no" else sent
                await anyio.sleep(_TRY_S)
            else:
                self._tenure = Tenure(float(self._lease["ttl_s"]), sent)
                return None

    async def _ask_for_it(self, wait_s: float) -> dict[str, Any]:
        from subjects.lease import ALLOCATE

        return await self._client.ask(ALLOCATE, {**self._request, "wait_s": wait_s}, timeout_s=wait_s + 5.0)

    async def _show_position(self) -> None:
        import anyio

        from subjects.lease import LEASE

        shown = ""
        while True:
            await anyio.sleep(_LOOK_S)
            try:
                place = _place(await self._client.ask(LEASE, {"id": self._id}))
            except ChimeraError:
                continue  # it is shown for comfort only
            if place and place != shown:
                note(place)
                shown = place

    async def _enter(self) -> None:
        """Be let in before the command starts; a device that can't be begun with just now gets a moment."""
        import anyio

        from chimera.devices.tenure import boot_time

        while True:
            try:
                await self._admit(0)
            except UnavailableError:
                if boot_time() >= self._need_tenure().renew_at:
                    raise
                await anyio.sleep(_TRY_S)
            else:
                return

    async def _admit(self, pid: int) -> None:
        """Show our token at the devices' node, and tell it whom to end if the lease is lost."""
        from subjects.gpu_node import ADMIT

        body = {"lease": self._id, "token": self._lease["token"], "pid": pid}
        for node in sorted({grant["node"] for grant in self._lease["grants"]}):
            try:
                await self._client.ask(ADMIT, {**body, "node": node})
            except LayerNotRunningError:
                note(f"no fence runs on {node}: if this process is killed, nobody ends the command when the lease does")

    # -- using it ------------------------------------------------------------------------------------------------------

    async def _run(self) -> int:
        import anyio

        from chimera.devices.tenure import boot_time

        from .held import HeldCommand

        if self._need_tenure().is_over(boot_time()):
            raise UnavailableError(f"lease {self._id} was granted, but its time went by before the command could begin")
        held = HeldCommand(self._line, environment_of(self._lease), self._id)
        code = 0
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_pass_on, held)
                tasks.start_soon(self._keep, held, tasks.cancel_scope)
                code = await held.wait()
                tasks.cancel_scope.cancel()
        finally:
            await held.end(self._ttl_s * 0.1)  # 0.8 of the time have gone at most: it is gone before the lease is
        if not self._lost:
            return code
        complain(f"the lease is lost, the command was ended: {self._lost}", code="no-lease")
        return Exit.FAILED

    async def _keep(self, held: HeldCommand, scope: anyio.CancelScope) -> None:
        """Renew until the lease is lost; then end the command."""
        import anyio

        from chimera.devices.tenure import boot_time

        tenure = self._need_tenure()
        try:
            await self._name(held, tenure)
            held.go()
            while not tenure.is_over(boot_time()):
                if boot_time() >= tenure.renew_at:
                    await self._renew(tenure)
                await anyio.sleep(min(_TRY_S, max(0.1, tenure.renew_at - boot_time())))
            self._lost = f"not renewed for {boot_time() - tenure.sent_at:.1f} s"
        except ChimeraError as error:
            self._lost = error.detail
        scope.cancel()

    async def _name(self, held: HeldCommand, tenure: Tenure) -> None:
        """Name the command to its node as the lease's holder. A node that can't see it can't end it; that is all."""
        import anyio

        from chimera.devices.tenure import boot_time

        while True:
            try:
                await self._admit(held.pid)
            except (BadMessageError, DeniedError) as error:
                note(f"the node can't end the command if this process is killed: {error.detail}")
            except (DeadlineError, UnavailableError):
                if boot_time() >= tenure.renew_at:
                    raise
                await anyio.sleep(_TRY_S)
                continue
            return

    async def _renew(self, tenure: Tenure) -> None:
        """One try.

        Raises:
            ChimeraError: If there is nothing to renew any more. Not being answered is no such thing.
        """
        from chimera.devices.tenure import boot_time
        from subjects.lease import RENEW

        sent = boot_time()
        patience = max(0.1, min(2.0, tenure.ends_at - sent))
        body = {"id": self._id, "token": self._lease["token"], "ttl_s": self._ttl_s}
        try:
            answer = await self._client.ask(RENEW, body, timeout_s=patience)
        except ChimeraError as error:
            if error.code in _LOST:
                raise
            return
        if answer["state"] != "granted":
            raise UnavailableError(answer["reason"] or f"it was {answer['state']}")
        if answer["revoke_at"] and not self._lease.get("revoke_at"):
            note(f"lease {self._id} will be taken back soon: {answer['reason']}")
        self._lease["revoke_at"] = answer["revoke_at"]
        tenure.renewed(sent, float(answer["ttl_s"]))

    async def _release(self) -> None:
        from subjects.lease import RELEASE

        try:
            await self._client.ask(RELEASE, {"id": self._id})
        except ChimeraError as error:
            if error.code != "no-lease":
                note(f"the lease {self._id} could not be given back and ends by itself: {error.detail}")

    def _need_tenure(self) -> Tenure:
        if self._tenure is None:
            raise UnavailableError("there is no lease yet")
        return self._tenure


def environment_of(lease: dict[str, Any]) -> dict[str, str]:
    """The command's environment: ours, the lease's devices by UUID, and the lease itself.

    A lease without GPUs hides them.
    """
    from chimera.devices.processes import LEASE_VARIABLE

    gpus = [grant["device"] for grant in lease["grants"] if grant["kind"] == "gpu"]
    own = {
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        LEASE_VARIABLE: lease["id"],
        "CHIMERA_LEASE_TOKEN": str(lease["token"]),
    }
    return {**os.environ, **own, **lease["environment"]}


async def _pass_on(held: HeldCommand) -> None:
    import anyio

    with anyio.open_signal_receiver(*_PASSED_ON) as signals:
        async for number in signals:
            held.signal(number)


def _worth_waiting(error: ChimeraError) -> bool:
    return error.code == "no-capacity" or error.status in {429, 503, 504}


def _place(lease: dict[str, Any]) -> str:
    if lease["state"] != "waiting":
        return ""
    guess = "" if lease["estimate_s"] is None else f", about {lease['estimate_s']:.0f} s"
    return f"waiting: number {lease['position']}{guess}" + (f" ({lease['reason']})" if lease["reason"] else "")


RUN = Command(
    "run",
    "run a command under a lease of devices",
    "chimera gpu run --devices 1 --wait 600 -- python train.py",
    arguments,
    run,
)
