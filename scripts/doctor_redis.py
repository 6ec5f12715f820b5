"""What `brainstem doctor` asks Redis: is it there, does it keep what it must, who are we to it. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ipc import keys
from ipc.config import Config
from ipc.paths import redis_url
from ipc.settings import RedisSettings
from scripts.doctor_finding import Finding, fail, note, ok, warn

TIMEOUT_S = 2.0
OLDEST = (7, 0)
SLOW_MS = 5.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def findings(config: Config, environ: Mapping[str, str], account: str, *, gateway_runs: bool) -> Iterator[Finding]:
    settings = config.section("redis", RedisSettings)
    url = redis_url(config, environ)
    where = settings.shown_url if settings.url else url
    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, protocol=2, retry=Retry(NoBackoff(), 0)
    )
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        yield _unreachable(error, where, private=settings.url is None and not gateway_runs)
        return
    else:
        yield from _exposed(settings.url)
        yield _speed(client, where)
        yield from _who(client, where, private=settings.url is None)
        yield from _keeps(client, where)
        yield from _stream(client, account, where)
    finally:
        client.close()


def _unreachable(error: Exception, where: str, *, private: bool) -> Finding:
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        return fail(
            "redis", f"refuses us: {error}", where, "Give user and password in redis.url; see deploy/redis.acl.in"
        )
    if private:
        return note("redis", "is not running: `brainstem up` starts a private one", where)
    return fail("redis", f"cannot be reached: {error}", where, "Start it, or mend redis.url", absent=True)


def _exposed(url: str | None) -> Iterator[Finding]:
    parts = urlsplit(url or "unix:///")
    if parts.scheme == "redis" and parts.hostname not in _LOOPBACK:
        step = "Use a Unix socket (unix://), or rediss:// with a user of its own"
        yield warn("redis", "slices, events and the password cross the network in clear", "redis.url", step)


def _speed(client: Any, where: str) -> Finding:
    best_ms = 1e9
    for _ in range(5):
        started_s = time.monotonic()
        client.ping()
        best_ms = min(best_ms, (time.monotonic() - started_s) * 1000)
    text = f"answers in {best_ms:.2f} ms"
    if best_ms > SLOW_MS:
        return warn("redis", text, where, "A brain decides on what is so much older: run Redis on this machine")
    return ok("redis", text, where)


def _who(client: Any, where: str, *, private: bool) -> Iterator[Finding]:
    try:
        name = client.acl_whoami()
    except redis.RedisError:
        yield note("redis", "does not tell who we are to it", where)
        return
    name = name.decode() if isinstance(name, bytes) else str(name)
    if name == "default" and not private:
        step = "Give gateway and brains users of their own: deploy/redis.acl.in"
        yield warn("redis", "we are the user `default`, who may do everything", where, step)
    else:
        yield ok("redis", f"we are the user `{name}`", where)


def _keeps(client: Any, where: str) -> Iterator[Finding]:
    try:
        info: dict[str, Any] = client.info("memory") | client.info("persistence") | client.info("server")
    except redis.RedisError:
        yield note("redis", "eviction and persistence are not checkable with this user's rights", where)
        return
    version = tuple(int(part) for part in str(info.get("redis_version", "0.0")).split(".")[:2])
    if version < OLDEST:
        yield fail("redis", f"version {info.get('redis_version')} is too old", where, "Use Redis 7 or Valkey")
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        step = "maxmemory-policy noeviction: full must be said, not hidden"
        yield fail("redis", f"evicts by {policy}: slices and events would silently go", where, step)
    elif not info.get("maxmemory"):
        yield note("redis", "has no bound of memory (maxmemory 0)", where, "maxmemory 256mb is plenty")
    else:
        yield ok("redis", f"refuses writes when full (noeviction, {info['maxmemory'] >> 20} MB)", where)
    if info.get("aof_enabled") or info.get("rdb_bgsave_in_progress"):
        step = 'appendonly no and save "": the journal is the truth'
        yield note("redis", "keeps what it holds on disk, which only costs time here", where, step)


def _stream(client: Any, account: str, where: str) -> Iterator[Finding]:
    """Somebody else's value under our stream's name would refuse every event."""
    try:
        client.xinfo_stream(keys.events(account))
    except redis.ResponseError as error:
        if "WRONGTYPE" in str(error):
            step = "Another program uses this Redis: give Brainstem its own"
            yield fail("redis", "the event stream's name is taken by something else", keys.events(account), step)
    except redis.RedisError as error:
        yield fail("redis", f"went away: {error}", where, "Look at its log", absent=True)
