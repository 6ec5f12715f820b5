# What a developer types. `just` alone lists it. Everything here also works without just: the recipes are one line each.

default:
    @just --list

# the whole of Brainstem on a simulated exchange; arguments go to the demo (--seed, --seconds, --replay, --symbols)
demo *args:
    ./scripts/demo {{args}}

# lint, types, contracts and every test, as CI does; arguments go to pytest
test *args:
    ./scripts/test {{args}}

# only the tests that changed files are likely to break: one room, one worker
quick room:
    .venv/bin/python -m pytest tests/{{room}} -q -x

# lint, format, types and import contracts, without tests
check:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy
    .venv/bin/lint-imports

# let ruff mend what it can
fix:
    .venv/bin/ruff check --fix .
    .venv/bin/ruff format .

# what is generated: JSON Schemas and reference pages from the contract, the page of settings from the models, the page of orders from the table, the page of faults from theirs
docs:
    .venv/bin/python -m ipc.schema
    .venv/bin/python -m scripts.config_docs
    .venv/bin/python -m scripts.order_docs
    .venv/bin/python -m scripts.chaos_docs

# both locks, with hashes, for every platform
lock:
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group build -o requirements.lock pyproject.toml
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group build --group dev -o requirements-dev.lock pyproject.toml
    echo 'uv==0.13.8' | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements-uv.lock

# what config.json says, in the background, and its end
up:
    .venv/bin/brainstem up --detach
down:
    .venv/bin/brainstem down

# is all there that this set-up needs?
doctor:
    .venv/bin/brainstem doctor

# systemd units and what belongs to them, from this checkout (root; docs/deploy.md)
install *args:
    ./deploy/install.sh {{args}}
