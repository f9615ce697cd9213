#!/usr/bin/env bash
# All tests of what is committed on Python 3.12, in a clone with an environment of its own; NIGHTLY_PYTHON names another.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${NIGHTLY_PYTHON:-python3.12}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "nightly: $python is not installed, or cannot make environments: its tests are not run"
    exit 0
fi
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet --local . "$clone/snn-fusion"
[ ! -d ../shared ] || ln -s "$(realpath ../shared)" "$clone/shared" # real recordings, where tests look for them
make -C "$clone/snn-fusion" test-all PYTHON="$python"
