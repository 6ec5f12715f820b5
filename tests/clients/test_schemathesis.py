"""A fuzzer of other people reads simex's own description of its REST side and finds no 500 and no broken promise.

`SIMEX_FUZZ_EXAMPLES` makes it long: the number of requests an endpoint gets in each phase.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import aiohttp
import pytest

from simex.server.routes import ROUTES
from tests.clients.environment import client_python
from tests.simex.running import running

HOOKS = Path(__file__).with_name("fuzz_hooks.py")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
LONG = os.environ.get("SIMEX_FUZZ_EXAMPLES")
PHASES, EXAMPLES = ("coverage,fuzzing", int(LONG)) if LONG else ("fuzzing", 3)


@pytest.mark.timeout(900 if not LONG else 36_000)  # the first run installs the fuzzer
async def test_schemathesis_finds_no_server_error_and_no_undescribed_answer(seed: int, tmp_path: Path) -> None:
    python = client_python("schemathesis")
    limits = ("--weight-limit", "1000000000", "--order-limit-10s", "1000000000", "--order-limit-1m", "1000000000")
    with running(*limits, log=tmp_path / "log") as simex:
        async with aiohttp.ClientSession() as http, http.get(f"{simex.rest}/admin/openapi.json") as answer:
            described = await answer.json()
        assert {(name.upper(), path) for path, item in described["paths"].items() for name in item} == set(ROUTES)
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(described))
        command = [
            str(python.with_name("schemathesis")), "run", str(file), "--url", simex.rest, "--checks", CHECKS,
            "--phases", PHASES, "--max-examples", str(EXAMPLES), "--seed", str(seed), "--workers", "1",
            "--warnings", "off", "--no-color", "--suppress-health-check", "all", "--generation-database", "none",
        ]  # fmt: skip
        env = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(HOOKS.parent)}
        fuzzer = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path, env=env
        )
        said = (await fuzzer.communicate())[0].decode()
        assert fuzzer.returncode == 0, said[-6000:]
        found = re.search(r"(\d+) generated", said)
        assert found, said[-2000:]
        assert int(found[1]) >= len(ROUTES), "every endpoint was asked"
        async with aiohttp.ClientSession() as http, http.get(f"{simex.rest}/fapi/v1/ping") as answer:
            assert answer.status == 200
    assert "Traceback" not in (tmp_path / "log").read_text()
