#!/bin/sh
# In the builder: the locked packages of an image into .venv, or the vendors' SDKs that may be passed on.
set -eu
what=$1
uv() { /opt/uv/bin/uv "$@"; }
index=$(cat /run/secrets/index 2>/dev/null || echo https://pypi.org/simple)
export UV_NO_CACHE=1 UV_LINK_MODE=copy UV_INDEX_URL="$index"
[ ! -e /run/secrets/ca ] || export SSL_CERT_FILE=/run/secrets/ca
locked() { # PYTHON FILE
    uv pip install --quiet --python "$1" --no-deps --require-hashes -r "$2"
}
if [ "$what" = toolchains ]; then
    for name in loihi2 spinnaker; do
        uv venv --quiet --python .venv/bin/python "toolchains/$name/.venv"
        locked "toolchains/$name/.venv/bin/python" "toolchains/$name/requirements.txt"
        (cd "toolchains/$name" && cat requirements.txt .venv/pyvenv.cfg | sha256sum | cut -c1-64 | tr -d '\n' >.venv/setup.digest)
    done
else
    python3 docker/requirements.py "$what" >/tmp/requirements.txt
    locked .venv/bin/python /tmp/requirements.txt
    if [ "$what" != mlflow ]; then
        torch=$(sed -n 's/^TORCH = "\(.*\)".*/\1/p' src/snn_fusion/serving/requirements.py)
        uv pip install --quiet --python .venv/bin/python --no-deps --no-index --find-links docker/wheels "$torch" 2>/dev/null ||
            uv pip install --quiet --python .venv/bin/python --no-deps --index-url "$TORCH_INDEX" "$torch"
    fi
fi
# Leave out what only development needs: tests of libraries, headers, symbols, Arrow's network protocol.
packages=$(echo .venv/lib/python3*/site-packages)
for library in numpy scipy pandas sklearn pyarrow numba; do
    [ ! -d "$packages/$library" ] || find "$packages/$library" -depth -type d \( -name tests -o -name include \) -exec rm -rf {} +
done
[ ! -d "$packages/torch" ] || find "$packages/torch/bin" ! -type d ! -name torch_shm_manager -delete
rm -rf "$packages"/torch/include "$packages"/torch/share "$packages"/torch/test
rm -f "$packages"/pyarrow/*flight*
find .venv -name '*.a' -delete
for library in "$packages"/torch/lib/libtorch_*.so "$packages"/llvmlite/binding/libllvmlite.so; do
    [ ! -e "$library" ] || strip --strip-unneeded "$library"
done
# Bytecode, which no container can write at run time. The service's image, which has to be small, gets only what it imports.
[ "$what" = service ] || python3 -m compileall -q -j 0 .venv/lib toolchains/*/.venv/lib >/dev/null || true
