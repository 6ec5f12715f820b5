"""`brainstem doctor`: is all there that a set-up needs? Each finding says how bad it is, what, where, and what to do.

It reads and listens; it changes nothing, takes no lock and disturbs no gateway. It ends within its time limit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ipc import config as configuration
from ipc.config import SIMULATED, Config
from ipc.faults import ConfigError
from ipc.paths import state_dir
from scripts import config_check, doctor_gateway, doctor_machine
from scripts.asking import show
from scripts.doctor_finding import Finding, fail, note, ok, warn
from scripts.down import children
from scripts.exits import ABSENT, DONE, FAILED, USAGE
from scripts.uplock import holder

TIMEOUT_S = 30.0
_SIMEX = re.compile(r"scripts\.simex\0(?:.*\0)?--port\0(\d+)\0")


def run(args: argparse.Namespace) -> int:
    """Exit 0 without a fail, 1 with one, 2 where the configuration cannot be used, 3 where all that fails is somebody
    who does not answer."""
    environ: Mapping[str, str] = os.environ
    try:
        config = configuration.read_args(args.config, environ)
    except ConfigError as error:
        _show(args, None, [fail("config", one.what, one.path, one.fix) for one in error.faults])
        return error.exit_code
    faults = [fail("config", one.what, one.path, one.fix) for one in config_check.faults(config)]
    found = faults or [ok("config", f"environment {config.environment}", config.source)]
    found += [warn("config", text, config.source, "Move it out of the file") for text in config.warnings]
    if not faults:
        config, environ = _with_simex(config, args.config, environ)
        found += _looked(config, environ, args.account, args.timeout)
    _show(args, config, found)
    return USAGE if faults else exit_code(found)


def exit_code(found: list[Finding]) -> int:
    fails = [one for one in found if one.severity == "fail"]
    if not fails:
        return DONE
    return ABSENT if all(one.absent for one in fails) else FAILED


def _looked(config: Config, environ: Mapping[str, str], account: str, timeout_s: float) -> list[Finding]:
    from scripts import doctor_redis

    found = list(doctor_machine.findings(config, environ))
    status, of_gateway = doctor_gateway.look(config, account)
    found += doctor_redis.findings(config, environ, account, gateway_runs=status is not None)
    found += of_gateway
    return [*found, *_of_venue(config, account, timeout_s, gateway_runs=status is not None)]


def _of_venue(config: Config, account: str, timeout_s: float, *, gateway_runs: bool) -> Iterator[Finding]:
    """The part that needs gateway, httpx and websockets: imported only here."""
    from gateway import settings

    try:
        plan = settings.plan(config, account)
    except ConfigError as error:
        for one in error.faults:
            if config.environment in SIMULATED and one.path == "simex":
                yield note("exchange", "no simulated exchange runs", "simex", "`brainstem up --detach` starts one")
            else:
                yield fail("config", one.what, one.path, one.fix)
        return
    try:
        keys = config.keys(account)
    except ConfigError:
        keys = None
        what = "there is none here: rights, settings and the private route are not checkable"
        step = "Ask as the gateway's user with its keys (deployed: systemctl start brainstem-doctor@ACCOUNT)"
        yield (note if gateway_runs else warn)("key", what, f"accounts.{account}.api_key", step)
    yield from asyncio.run(_asked(config, plan, keys, timeout_s))


async def _asked(config: Config, plan: Any, keys: Any, timeout_s: float) -> list[Finding]:
    from gateway.app import trusted
    from scripts import doctor_routes, doctor_venue
    from scripts.doctor_asker import Asker

    try:
        context, dial = trusted(plan, config.source), plan.venue.dialler()
    except ConfigError as error:
        return [fail("config", one.what, one.path, one.fix) for one in error.faults]
    signer = plan.adapter.signer(*(keys[n].get_secret_value() if keys else "none" for n in range(2)))
    desk = plan.adapter.key_desk
    host = desk.host(plan.environment, plan.endpoints.rest) if desk is not None else None
    asker = Asker(plan.endpoints.rest, signer, ssl_context=context, dial=dial)
    wallet = Asker(host, signer, ssl_context=context, dial=dial) if host and keys else None
    found: list[Finding] = []

    async def take(part: Any) -> None:
        told = await part
        found.extend(told if isinstance(told, list) else [told])

    listen_to: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    venue = doctor_venue.Venue(plan, config, asker, wallet, keys is not None, listen_to)
    parts = [take(doctor_venue.findings(venue))]
    parts += [take(doctor_routes.market_route(plan, one, listen_to, context, dial)) for one in ("public", "market")]
    parts += [take(doctor_routes.private_route(plan, asker, context, dial))] if keys else []
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*parts)
    except TimeoutError:
        step = "Try again with --timeout 120, and look at network and proxy"
        found.append(fail("exchange", f"not all was answered within {timeout_s:g} s", plan.endpoints.rest, step))
    finally:
        await asker.close()
        if wallet is not None:
            await wallet.close()
    return found


def _with_simex(config: Config, path: str | None, environ: Mapping[str, str]) -> tuple[Config, Mapping[str, str]]:
    """With the addresses of the simulated exchange that a running `brainstem up` started, where it is one's own."""
    if config.environment not in SIMULATED or config.raw("simex").get("rest") is not None:
        return config, environ
    pid = holder(state_dir(config, environ, create=False).resolve())
    for child in children(pid) if pid is not None else ():
        try:
            command = Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it ended meanwhile, or is another user's
        if found := _SIMEX.search(command):
            host = f"127.0.0.1:{found[1]}"
            more = {"BRAINSTEM_SIMEX__REST": f"http://{host}", "BRAINSTEM_SIMEX__WS": f"ws://{host}"}
            return configuration.read_args(path, {**environ, **more}), {**environ, **more}
    return config, environ


def _show(args: argparse.Namespace, config: Config | None, found: list[Finding]) -> None:
    from ipc.logs import Redactor

    hide = Redactor(config.secret_values() if config is not None else ()).text
    found = [one._replace(what=hide(one.what), where=hide(one.where), next=hide(one.next)) for one in found]
    counts = {name: sum(one.severity == name for one in found) for name in ("ok", "note", "warn", "fail")}
    rows = [{key: value for key, value in one._asdict().items() if key != "absent"} for one in found]
    value = {"account": args.account, "ok": not counts["fail"], "counts": counts, "findings": rows}
    show(args, value, lambda _: text(found, counts))


def text(found: list[Finding], counts: Mapping[str, int]) -> str:
    lines = []
    for one in found:
        where = f"  ({one.where})" if one.where else ""
        lines.append(f"{one.severity:<5} {one.check:<14} {one.what}{where}")
        lines += [f"{'':20} -> {one.next}"] if one.next else []
    return "\n".join([*lines, "  ".join(f"{count} {name}" for name, count in counts.items())])
