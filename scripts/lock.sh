#!/usr/bin/env bash
# Resolve pyproject.toml into requirements.lock, for Python 3.11 and 3.12, with hashes.
# torch and its CUDA packages are left out: scripts/setup.py installs the CPU build of torch (TORCH there).
set -euo pipefail
cd "$(dirname "$0")/.."
drop=(torch triton cuda-bindings cuda-toolkit cuda-pathfinder)
compile() { .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --extra dev "$@" pyproject.toml; }
mapfile -t nvidia < <(compile | grep -oE '^nvidia-[a-z0-9-]+' | sort -u)
compile "${drop[@]/#/--no-emit-package=}" "${nvidia[@]/#/--no-emit-package=}" --output-file requirements.lock >/dev/null
echo "wrote requirements.lock: $(grep -c '==' requirements.lock) packages"
.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --constraint requirements.lock \
    benchmarks/requirements.in --output-file benchmarks/requirements.txt >/dev/null
echo "wrote benchmarks/requirements.txt"
