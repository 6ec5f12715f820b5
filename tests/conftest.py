"""Fixtures every room shares: a real private Redis, short socket folders, recordings, printed seeds."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import uvloop

from ipc.redis_server import PrivateRedis, start_private
from tests.data import data_dir as find_data_dir

_SEED_VARIABLE = "BRAINSTEM_TEST_SEED"
_KEPT = {_SEED_VARIABLE, "BRAINSTEM_DATA"}


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, object]:
    """Coroutine tests run on the loop the processes run on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_configure(config: pytest.Config) -> None:
    """Settings and keys of whoever runs the tests must not reach what the tests start."""
    for name in list(os.environ):
        if name == "CREDENTIALS_DIRECTORY" or (name.startswith("BRAINSTEM_") and name not in _KEPT):
            del os.environ[name]


def pytest_report_header(config: pytest.Config) -> list[str]:
    found = find_data_dir()
    where = "found" if found else "ABSENT: tests on recorded data will skip"
    return [f"recordings: {where}", f"seed: {_SEED_VARIABLE}={os.environ.get(_SEED_VARIABLE, '(random per test)')}"]


@pytest.fixture
def data_dir() -> Path:
    """The recordings; skips aloud without them."""
    found = find_data_dir()
    if found is None:
        pytest.skip("no recorded market data: set BRAINSTEM_DATA to its folder")
    return found


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A fresh seed each run, shown with a failure; `BRAINSTEM_TEST_SEED` repeats one."""
    given = os.environ.get(_SEED_VARIABLE)
    value = int(given) if given else random.SystemRandom().randrange(2**32)
    print(f"repeat with {_SEED_VARIABLE}={value} pytest '{request.node.nodeid}'")
    return value


@pytest.fixture
def fixed_seed() -> int:
    """For statements about the statistics of what is drawn: a rare draw breaks no code, and must break no run.
    `BRAINSTEM_TEST_SEED` tries another."""
    return int(os.environ.get(_SEED_VARIABLE, 20_261_120))


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A private folder with a path short enough for sockets (107 bytes), whatever pytest's own is called."""
    path = Path(tempfile.mkdtemp(prefix="bs-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateRedis]:
    """One real server a test process."""
    path = Path(tempfile.mkdtemp(prefix="bs-redis-", dir="/tmp"))
    server = start_private(path)
    yield server
    server.stop()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server: PrivateRedis) -> str:
    """URL of an empty Redis."""
    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    client.config_resetstat()
    client.close()
    return redis_server.url
