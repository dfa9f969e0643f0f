"""``chimera evolve``: breed genomes of an agent and watch; pause, resume, stop, look at the front or the map."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from chimera.errors import BadMessageError
from subjects import evolution as contract
from subjects.evolver import POPULATION

from .command import Command, Exit
from .evolving import evolution_of, show_evolution, show_list, show_map, show_members, show_progress
from .output import emit_json, note
from .settings import load_settings

if TYPE_CHECKING:
    from chimera.config import Settings

    from .client import Client

ACTIONS = ("start", "watch", "status", "list", "pause", "resume", "stop", "front", "map")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="*", metavar="AGENT",
        help=f"an agent to evolve; or one of {', '.join(ACTIONS)}, and then the agent (start) or an evolution's id",
    )  # fmt: skip
    _search(parser)
    _measuring(parser)
    parser.add_argument("--no-deploy", action="store_true", help="keep the champion from the gate")
    parser.add_argument("--detach", action="store_true", help="start it and come back at once")
    parser.add_argument("--plot", metavar="FILE", help="write its pictures there, .svg or .html, when it is over")
    parser.add_argument("--id", default="", help="an id, to make the start repeatable")
    parser.add_argument("--note", default="", help="kept with it")
    parser.add_argument("--agent", default="", help="list: of this agent only")
    parser.add_argument(
        "--state", default="", choices=("", *get_args(contract.EvolutionState)), help="list: in this state"
    )
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="most rows (default: 20)")


def _search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--generations", type=int, default=100, metavar="N", help="most generations (default: 100)")
    parser.add_argument("--population", type=int, metavar="N", help="genomes of a generation (default: as configured)")
    parser.add_argument("--algorithm", choices=get_args(contract.Algorithm), help="default: as configured")
    parser.add_argument("--mutation-rate", type=float, metavar="P", help="of each gene (default: as configured)")
    parser.add_argument("--islands", type=int, metavar="N", help="populations apart; 0 = one per node")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="makes a run repeatable (default: drawn)")
    parser.add_argument("--parameters", default="", metavar="NAME,...", help="the genes to search (default: all)")
    parser.add_argument(
        "--reach", type=float, metavar="SHARE",
        help="first moves away from known genomes, as a share of a gene's range (default: less the more genes)",
    )  # fmt: skip
    parser.add_argument("--limits", action="store_true", help="search the execution limits, too")
    parser.add_argument(
        "--descriptor",
        action="append",
        default=[],
        metavar="NAME:LOW:HIGH:CELLS",
        help="map-elites: an axis of the map",
    )
    parser.add_argument("--keep-going", action="store_true", help="do not end when it has converged")


def _measuring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=int, metavar="N", help="tasks a genome is measured on (default: as configured)")
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="labelled tasks, .tsv (text<TAB>label or score) or .jsonl; default: recorded ones",
    )
    parser.add_argument(
        "--objective", action="append", default=[], metavar="NAME[:KEY=VALUE]",
        help="correct, correlation, score_error, cpu_ms, output.FIELD ...; several give a front (default: correct)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, metavar="N", help="longest time it may take")
    parser.add_argument("--cpu-s", type=float, metavar="N", help="most CPU time of the agents on trial")


def _run(options: argparse.Namespace) -> int:
    action, name = _action(options.what)
    place = Path(options.plot) if options.plot else None
    if place is not None:
        from .plotting import check_place

        check_place(place)
    settings = load_settings(options).settings
    if action == "start":
        return _start(settings, evolution_of(name, options), options, place)
    if action == "watch":
        from .client import with_client

        told = with_client(settings, lambda client: client.ask(contract.PROGRESS, {"id": name, "limit": 1}))
        return _watch(settings, told["evolution"]["id"], options, place)
    return _ask(settings, action, name, options, place)


def _action(words: list[str]) -> tuple[str, str]:
    if words and words[0] not in ACTIONS:
        words = ["start", *words]
    action, name, *more = [*words, "", ""] if words else ["status", ""]
    if any(more):
        raise BadMessageError(f"'{more[0]}' is one word too many", hint=f"an agent, or one of {', '.join(ACTIONS)}")
    if action == "start" and not name:
        raise BadMessageError("which agent?", hint="chimera evolve sentiment --generations 100")
    return action, name


def _ask(settings: Settings, action: str, name: str, options: argparse.Namespace, place: Path | None) -> int:
    from .client import with_client
    from .plotting import plot

    limit = min(1000, max(1, options.limit))
    questions: dict[str, tuple[Any, dict[str, Any], Callable[[dict[str, Any]], None]]] = {
        "status": (contract.PROGRESS, {"id": name}, show_progress),
        "list": (
            contract.EVOLUTIONS, {"agent": name or options.agent, "state": options.state, "limit": limit}, show_list
        ),
        "pause": (contract.PAUSE, {"id": name}, show_evolution),
        "resume": (contract.RESUME, {"id": name}, show_evolution),
        "stop": (contract.STOP, {"id": name, "agent": options.agent, "note": options.note}, show_evolution),
        "front": (POPULATION, {"id": name, "limit": 1000}, lambda told: show_members(told, limit)),
        "map": (POPULATION, {"id": name, "limit": 1000}, show_map),
    }  # fmt: skip
    operation, body, show = questions[action]

    async def work(client: Client) -> Any:
        answer = await client.ask(operation, body)
        if place is not None:
            await plot(client, name, place)
        return answer

    answer = with_client(settings, work)
    emit_json(answer) if options.json else show(answer)
    return Exit.DONE


def _start(settings: Settings, body: dict[str, Any], options: argparse.Namespace, place: Path | None) -> int:
    from .client import with_client

    begun = with_client(settings, lambda client: client.ask(contract.START, body))
    if options.detach:
        if options.json:
            emit_json(begun)
        else:
            note(_how_on(begun["id"]))
        return Exit.DONE
    if begun["evaluations"]:
        note(f"an evolution of {begun['agent']} is under way: what was asked for now is not begun, this is the other")
    note(f"{begun['id']}: {begun['algorithm']}, {begun['why']}; the seed is {begun['seed']}")
    return _watch(settings, begun["id"], options, place)


def _watch(settings: Settings, id_: str, options: argparse.Namespace, place: Path | None) -> int:
    from .client import with_client
    from .plotting import plot

    ended = _follow(settings, id_)
    if ended is None:
        note(f"it goes on. {_how_on(id_)}")
        return Exit.INTERRUPTED
    if place is not None:
        with_client(settings, lambda client: plot(client, id_, place))
    emit_json(ended) if options.json else show_evolution(ended)
    return Exit.DONE if ended["state"] in {"converged", "exhausted"} else Exit.FAILED


def _follow(settings: Settings, id_: str) -> dict[str, Any] | None:
    """Watch until it is over; ``None`` if the person at the keyboard leaves it alone."""
    from .client import with_client
    from .generations import live_view, watch

    while True:
        try:
            with live_view() as view:
                return with_client(settings, lambda client: watch(client, id_, view))
        except KeyboardInterrupt:
            choice = ask_what_to_do(id_)
        if choice == "detach":
            return None
        if choice == "stop":
            with_client(settings, lambda client: client.ask(contract.STOP, {"id": id_}))


def ask_what_to_do(id_: str) -> str:
    """What Ctrl-C means: ``detach`` (also where nobody can be asked, and at a second Ctrl-C), ``stop`` or ``watch``."""
    if not sys.stdin.isatty():
        return "detach"
    try:
        print(f"\n{id_} goes on by itself: [D]etach, [s]top it, [w]atch on? ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip().lower()
    except KeyboardInterrupt:
        return "detach"
    return {"s": "stop", "w": "watch"}.get(answer[:1], "detach")


def _how_on(id_: str) -> str:
    return f"watch: chimera evolve watch {id_}; stop: chimera evolve stop {id_}"


COMMAND = Command(
    "evolve", "breed genomes of an agent; watch, pause, stop, see the front",
    "chimera evolve sentiment --generations 100", _arguments, _run,
)  # fmt: skip
