#!/bin/sh
# Install with apt-get what the build needs and the system lacks; do nothing where nothing is missing.
# usage: system-packages.sh PYTHON
set -eu
python=$1
packages=

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "pycrcnn needs Python 3.10 or newer; set PYTHON to one, as in: make demo PYTHON=python3.12" >&2
    exit 1
}
command -v cargo >/dev/null || {
    echo "pycrcnn needs a Rust toolchain, which was not found; see https://rustup.rs" >&2
    exit 1
}
command -v cmake >/dev/null || packages="$packages cmake"
command -v c++ >/dev/null || packages="$packages g++"
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
if [ -z "${LIBCLANG_PATH:-}" ]; then
    found=
    for library in /usr/lib/llvm-*/lib/libclang.so /usr/lib/libclang.so /usr/lib64/libclang.so; do
        [ ! -e "$library" ] || found=$library
    done
    [ -n "$found" ] || packages="$packages libclang-dev"
fi

[ -n "$packages" ] || exit 0
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
command -v apt-get >/dev/null || {
    echo "please install:$packages" >&2
    exit 1
}
echo "installing:$packages"
$sudo apt-get update -q
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $packages
