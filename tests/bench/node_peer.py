"""A whole node that asks itself, in a process: server, store, sandbox, agents, bridge, as ``chimera run`` has them."""

from __future__ import annotations

import itertools
import sys
import time

from chimera.config import load
from chimera.interpreter import calm
from chimera.node import Node
from subjects.agent import Predict
from tests.bench.child import obey, run
from tests.bench.figures import median

TEXT = "I love this, it works great!"


async def main() -> None:
    """Start the node in the given folder, then obey."""
    flags = {"node.data_dir": sys.argv[1], "nats.port": 0, "http.ports.agent": 0}
    jobs = (f"bench-{number}" for number in itertools.count())

    async with Node(load(flags=flags).settings) as node:
        calm()

        async def predict(agent: str, calls: int) -> dict[str, float]:
            above: list[float] = []
            runs: list[float] = []
            for _ in range(calls):
                message = Predict(job_id=next(jobs), agent=agent, input={"text": TEXT})
                began = time.perf_counter()
                answer = await node.ask(message)
                took = (time.perf_counter() - began) * 1e3
                if (answer.job_id, answer.agent, answer.replayed) != (message.job_id, agent, False):
                    raise AssertionError(f"{message.job_id} was answered {answer}")
                if agent == "echo" and answer.output != message.input:
                    raise AssertionError(f"echo answered {answer.output}")
                above.append(took - answer.timings.run_ms)
                runs.append(answer.timings.run_ms)
            return {"above_us": median(above) * 1e3, "run_us": median(runs) * 1e3}

        await obey({"predict": predict})


if __name__ == "__main__":
    run(main)
