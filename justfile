# Chimera: every task a person or CI runs. `just` lists them.
set shell := ["bash", "-euo", "pipefail", "-c"]

uv := `command -v uv || echo .tools/bin/uv`
py := ".venv/bin/python"

# numpy's own threads cost more than they bring on a machine that has other work
export OPENBLAS_NUM_THREADS := env("OPENBLAS_NUM_THREADS", "1")
export OMP_NUM_THREADS := env("OMP_NUM_THREADS", "1")

# list the recipes
default:
    @just --list --unsorted --justfile {{ justfile() }}

# start everything on this machine (options of `chimera run` may follow)
[group('use'), no-exit-message]
run *options: (_env "run")
    @exec .venv/bin/chimera run {{ options }}

# stream a real labelled data set through a system and print what was measured
[group('use'), no-exit-message]
demo *options: (_env "run")
    @.venv/bin/chimera demo {{ options }}

# a line per service: does it answer, how fast
[group('use'), no-exit-message]
health *options: (_env "run")
    @.venv/bin/chimera health {{ options }}

# measure the runbook's targets and say pass or fail
[group('use'), no-exit-message]
performance *options: (_env "run")
    @.venv/bin/chimera performance {{ options }}

# all tests (options of pytest may follow)
[group('work')]
test *options: (_env "dev")
    {{ py }} -m pytest {{ options }}

# style, types, direction of imports, and whether what is generated is current
[group('work')]
check: (_env "dev")
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/bin/pyright
    .venv/bin/lint-imports --no-cache
    {{ py }} -m tests.support.generated --check

# mend style, and write what is generated
[group('work')]
fix: (_env "dev")
    .venv/bin/ruff check --fix .
    .venv/bin/ruff format .
    {{ py }} -m tests.support.generated

# build the shipped WASM agents from source (`just guests --check` compares instead)
[group('work')]
guests *options: (_env "dev")
    {{ py }} -m edge.guests.build {{ options }}

# measure: ratios against peers in one run, interleaved; writes bench-results/
[group('work')]
bench *options: (_env "dev")
    {{ py }} -m tests.bench {{ options }}

# simulate how often the gate's statistics are wrong and what they cost (`--write` renews the committed table)
[group('work')]
calibrate *options: (_env "dev")
    {{ py }} -m tests.calibration {{ options }}

# kill and pause everything under load, in an order made from a seed, and judge (about 2 minutes)
[group('work'), no-exit-message]
chaos *options: (_env "dev")
    @{{ py }} -m tests.chaos {{ options }}

# simulate a thousand histories of tasks under faults (`--seed N --trace` shows one)
[group('work'), no-exit-message]
simulate *options: (_env "dev")
    @{{ py }} -m tests.simulation {{ options }}

# lend devices while brokers, nodes, holders and servers are killed and paused, on one server and on three (2 minutes)
[group('work'), no-exit-message]
chaos-lending *options: (_env "dev")
    @{{ py }} -m tests.leasing --raid 60 --servers 1 {{ options }}
    @{{ py }} -m tests.leasing --raid 60 --servers 3 {{ options }}

# lease, use, expiry and energy on a real GPU, where there is one
[group('work'), no-exit-message]
gpu-smoke: (_env "dev")
    @{{ py }} -m tests.support.gpu_smoke

# build the wheel and the source distribution into dist/
[group('work')]
wheel: (_env "dev")
    {{ uv }} build --quiet --out-dir dist

# resolve the versions that `_env` installs, with hashes
[group('work')]
lock: _uv
    {{ uv }} pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --extra brain pyproject.toml --output-file .ci/requirements-run.txt
    {{ uv }} pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --extra brain --group dev --group guests --constraints .ci/requirements-run.txt pyproject.toml --output-file .ci/requirements-dev.txt

# remove what was built and installed here
[group('work')]
clean:
    rm -rf .venv .tools .zig-cache dist build bench-results .pytest_cache .ruff_cache .hypothesis

# the environment, installed once per change of the lock file
_env kind: _uv
    @.ci/environment "{{ uv }}" "{{ kind }}"

_uv:
    @[ -x "$(command -v {{ uv }})" ] || { echo "fetching uv into .tools" >&2; python3 -m venv .tools && .tools/bin/python -m pip install --quiet --disable-pip-version-check uv; }
