"""Rights by user id or by name: one of both, and a name that this machine lacks is a fault by its path."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from gateway import settings
from ipc.config import Config, load
from ipc.faults import ConfigError


def config(folder: Path, *rights: dict[str, Any]) -> Config:
    document = {"simex": {"rest": "http://x", "ws": "ws://x"}, "accounts": {"main": {"rights": list(rights)}}}
    (folder / "config.json").write_text(json.dumps(document))
    return load(folder / "config.json", {})


def test_a_name_is_the_users_number(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    plan = settings.plan(config(tmp_path, {"uid": 4711, "admin": True}, {"user": me, "trade": True}), "main")
    grants = [one.grant() for one in plan.account_settings.rights]
    assert [(grant.uid, grant.trade, grant.admin) for grant in grants] == [
        (4711, False, True),
        (os.getuid(), True, False),
    ]


@pytest.mark.parametrize("right", [{}, {"uid": 1, "user": "root"}, {"user": ""}, {"uid": -1}])
def test_one_of_both_is_needed(tmp_path: Path, right: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"accounts\.main\.rights\[0\]"):
        settings.check(config(tmp_path, right))


def test_a_name_that_is_not_here_stops_the_gateway_and_not_the_check(tmp_path: Path) -> None:
    held = config(tmp_path, {"uid": 1}, {"user": "nobody-of-that-name"})
    settings.check(held)
    with pytest.raises(ConfigError, match=r"accounts\.main\.rights\[1\]\.user: this machine has no user"):
        settings.plan(held, "main")
