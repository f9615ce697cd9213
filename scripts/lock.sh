#!/usr/bin/env bash
# Resolve pyproject.toml into requirements.lock, for Python 3.11 and 3.12, with hashes.
# torch and its CUDA packages are left out: scripts/setup.py installs the CPU build of torch (TORCH there).
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header "$@"; }
without_torch() { # FILE, then what compile takes; leaves out torch and whatever its CUDA build would bring
    local file=$1 drop=(torch torchvision torchaudio triton cuda-bindings cuda-toolkit cuda-pathfinder) nvidia
    shift
    mapfile -t nvidia < <(compile "$@" | grep -oE '^nvidia-[a-z0-9-]+' | grep -vx nvidia-ml-py | sort -u)  # bentoml needs that one
    compile "${drop[@]/#/--no-emit-package=}" "${nvidia[@]/#/--no-emit-package=}" "$@" --output-file "$file" >/dev/null
}
report() { echo "wrote $1: $(grep -c '==' "$1") packages"; }

without_torch requirements.lock --extra dev pyproject.toml
report requirements.lock
# What the images of docker/ need beyond it; versions that both would name are requirements.lock's.
mapfile -t locked < <(grep -oE '^[a-z0-9._-]+==' requirements.lock | tr -d '=' | sort -u)
compile --constraint requirements.lock "${locked[@]/#/--no-emit-package=}" docker/production.in --output-file docker/production.lock >/dev/null
report docker/production.lock
compile --constraint requirements.lock benchmarks/requirements.in --output-file benchmarks/requirements.txt >/dev/null
report benchmarks/requirements.txt
without_torch benchmarks/engine/requirements.txt benchmarks/engine/requirements.in
report benchmarks/engine/requirements.txt
compile --python-version 3.11 scripts/tools/requirements.in --output-file scripts/tools/requirements.txt >/dev/null
report scripts/tools/requirements.txt
