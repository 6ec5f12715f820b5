#!/bin/sh
# Makes one environment for each peer under bench/.peers, from its hashed requirements. Nothing of ours goes in there,
# and nothing of theirs comes out. Run again after a change of a requirements file.
#
#   bench/peers.sh            all peers
#   bench/peers.sh ccxt       one of them
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}

for file in "$here"/peers/*.txt; do
    name=$(basename "$file" .txt)
    if [ $# -gt 0 ] && [ "$1" != "$name" ]; then
        continue
    fi
    target="$here/.peers/$name"
    echo "peer $name -> bench/.peers/$name"
    rm -rf "$target"
    if command -v uv >/dev/null 2>&1; then
        uv venv -q --python "$python" "$target"
        uv pip install -q --python "$target/bin/python" --require-hashes -r "$file"
    else
        "$python" -m venv "$target"
        "$target/bin/python" -m pip install -q --require-hashes -r "$file"
    fi
done
