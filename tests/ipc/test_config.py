"""Configuration: precedence, faults by path on both sides of every rule, secrets that never show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from ipc.config import Config, ConfigError, load, read_args
from ipc.settings import LogSettings, RedisSettings, Settings

SECRET = "s3cr3t-value-that-must-not-show"


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def credentials(tmp_path: Path, **files: str) -> str:
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


def faults(error: pytest.ExceptionInfo[ConfigError]) -> dict[str, str]:
    return {fault.path: f"{fault.what}. {fault.fix}" for fault in error.value.faults}


class TestPrecedence:
    def test_environment_beats_credential_beats_file_beats_default(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"gateway": {"a": 1, "b": 1, "c": 1}})
        folder = credentials(tmp_path, brainstem_gateway__b="2", brainstem_gateway__c="2")
        config = load(path, {"BRAINSTEM_GATEWAY__C": "3", "CREDENTIALS_DIRECTORY": folder})
        assert config.raw("gateway") == {"a": 1, "b": 2, "c": 3}
        assert config.environment == "simex"
        assert config.raw("redis") == {}
        assert config.raw("brains") == []

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("3", 3),
            ("true", True),
            ("null", None),
            ('["A"]', ["A"]),
            ('{"x": 1}', {"x": 1}),
            ("plain words", "plain words"),
        ],
    )
    def test_values_are_json_where_they_parse_else_text(self, text: str, value: object) -> None:
        assert load(None, {"BRAINSTEM_GATEWAY__DEEP__KEY": text}).raw("gateway") == {"deep": {"key": value}}

    def test_keys_that_look_like_numbers_stay_text(self) -> None:
        environ = {"BRAINSTEM_ACCOUNTS__MAIN__API_KEY": "0012", "BRAINSTEM_ACCOUNTS__MAIN__API_SECRET": "1e5"}
        keys = load(None, environ).keys("main")
        assert (keys.api_key.get_secret_value(), keys.api_secret.get_secret_value()) == ("0012", "1e5")

    def test_existing_keys_are_matched_without_case_and_new_ones_are_lower(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"accounts": {"Main": {"leverage": {"BTCUSDT": 3}}}})
        config = load(path, {"BRAINSTEM_ACCOUNTS__MAIN__LEVERAGE__BTCUSDT": "5", "BRAINSTEM_GATEWAY__NEW": "1"})
        assert config.raw("accounts")["Main"]["leverage"] == {"BTCUSDT": 5}
        assert config.raw("gateway") == {"new": 1}

    def test_a_number_names_a_list_item_and_its_neighbours_stay(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"brains": [{"name": "a", "params": {"fast": 1}}, {"name": "b"}]})
        config = load(path, {"BRAINSTEM_BRAINS__0__PARAMS__FAST": "8"})
        assert config.raw("brains") == [{"name": "a", "params": {"fast": 8}}, {"name": "b"}]

    def test_an_override_never_changes_the_file_that_was_read(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"brains": [{"name": "a"}]})
        load(path, {"BRAINSTEM_BRAINS__0__NAME": "z"})
        assert load(path, {}).raw("brains") == [{"name": "a"}]

    def test_without_config_option_the_working_folder_s_file_is_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert read_args(None, {}).path is None
        write(tmp_path, {"environment": "paper"})
        assert read_args(None, {}).environment == "paper"


class TestFaults:
    def test_every_fault_is_named_at_once(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"acounts": {}, "brains": {}, "gateway": 3, "environment": "prod"})
        environ = {"BRAINSTEM_ENVIROMENT": "testnet", "BRAINSTEM_GATEWAY__": "1"}
        with pytest.raises(ConfigError) as error:
            load(path, environ)
        found = faults(error)
        assert set(found) == {
            "acounts",
            "brains",
            "gateway",
            "environment",
            "$BRAINSTEM_ENVIROMENT",
            "$BRAINSTEM_GATEWAY__",
        }
        assert "accounts" in found["acounts"]
        assert "environment" in found["$BRAINSTEM_ENVIROMENT"]
        assert error.value.exit_code == 2

    @pytest.mark.parametrize("item", ["0", "1"])
    def test_an_item_that_the_list_lacks_is_refused(self, tmp_path: Path, item: str) -> None:
        path = write(tmp_path, {"brains": [{"name": "a"}]})
        environ = {f"BRAINSTEM_BRAINS__{item}__NAME": "x"}
        if item == "0":
            assert load(path, environ).raw("brains") == [{"name": "x"}]
            return
        with pytest.raises(ConfigError, match="no item of a list of 1"):
            load(path, environ)

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("{", "line 1"),
            ("[]", "object"),
            ('{"gateway": {"a": 1, "a": 2}}', "twice"),
            ('{"gateway": {"a": NaN}}', "NaN"),
        ],
    )
    def test_a_file_that_is_not_one_json_object_is_refused(self, tmp_path: Path, text: str, word: str) -> None:
        with pytest.raises(ConfigError, match=word):
            load(write(tmp_path, text), {})

    def test_a_named_file_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not there"):
            load(tmp_path / "none.json", {})

    @pytest.mark.parametrize("name", ["main", "a.b-c_1", "a" * 32])
    def test_account_names_that_pass(self, tmp_path: Path, name: str) -> None:
        assert name in load(write(tmp_path, {"accounts": {name: {}}}), {}).raw("accounts")

    @pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", "a__b", "a" * 33])
    def test_account_names_that_would_break_paths_and_keys(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match="no account name"):
            load(write(tmp_path, {"accounts": {name: {}}}), {})


class Inner(Settings):
    size: Annotated[int, Field(ge=1, le=9)] = 1


class Outer(Settings):
    name: str
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = Field(default_factory=dict)


class TestSections:
    def load(self, tmp_path: Path, section: object) -> Config:
        return load(write(tmp_path, {"gateway": section}), {})

    @pytest.mark.parametrize("size", [1, 9])
    def test_a_section_becomes_its_model(self, tmp_path: Path, size: int) -> None:
        assert self.load(tmp_path, {"name": "x", "many": [{"size": size}]}).section("gateway", Outer) == Outer(
            name="x", many=(Inner(size=size),)
        )

    @pytest.mark.parametrize(
        ("section", "path", "word"),
        [
            ({}, "gateway.name", "missing"),
            ({"name": "x", "nam": 1}, "gateway.nam", "Did you mean name"),
            ({"name": "x", "inner": {"sise": 1}}, "gateway.inner.sise", "Did you mean size?"),
            ({"name": "x", "many": [{}, {"size": 0}]}, "gateway.many[1].size", "greater"),
            ({"name": "x", "many": [{"size": 10}]}, "gateway.many[0].size", "less"),
            ({"name": "x", "by_name": {"BTC": {"sise": 1}}}, "gateway.by_name.BTC.sise", "Did you mean size?"),
        ],
    )
    def test_faults_carry_their_path_and_a_next_step(
        self, tmp_path: Path, section: object, path: str, word: str
    ) -> None:
        with pytest.raises(ConfigError) as error:
            self.load(tmp_path, section).section("gateway", Outer)
        assert list(faults(error)) == [path]
        assert word in faults(error)[path]

    def test_list_sections_validate_as_lists(self, tmp_path: Path) -> None:
        config = load(write(tmp_path, {"brains": [{"name": "x"}, {}]}), {})
        with pytest.raises(ConfigError) as error:
            config.section("brains", list[Outer])
        assert list(faults(error)) == ["brains[1].name"]

    @pytest.mark.parametrize("url", ["unix:///run/redis.sock", "redis://h:1/0", "rediss://u:p@h:1/0"])
    def test_redis_urls_that_pass(self, url: str) -> None:
        assert RedisSettings(url=url).url == url

    def test_other_redis_urls_are_refused_without_quoting_them(self) -> None:
        with pytest.raises(ConfigError) as error:
            load(None, {"BRAINSTEM_REDIS__URL": f"http://u:{SECRET}@h"}).section("redis", RedisSettings)
        assert list(faults(error)) == ["redis.url"]
        assert SECRET not in str(error.value)

    def test_log_levels(self) -> None:
        assert load(None, {"BRAINSTEM_LOG__LEVEL": "debug"}).section("log", LogSettings).level == "debug"
        with pytest.raises(ConfigError, match=r"log\.level"):
            load(None, {"BRAINSTEM_LOG__LEVEL": "loud"}).section("log", LogSettings)


class TestEnvironments:
    @pytest.mark.parametrize("name", ["mainet", "MAINNET", "production", "", 3, None])
    def test_an_unknown_name_is_refused_and_never_mainnet(self, tmp_path: Path, name: object) -> None:
        with pytest.raises(ConfigError, match="environment"):
            load(write(tmp_path, {"environment": name, "mainnet_confirmed": True}), {})

    @pytest.mark.parametrize("confirmed", [None, False, "true", 1])
    def test_mainnet_needs_true_as_its_second_confirmation(self, tmp_path: Path, confirmed: object) -> None:
        with pytest.raises(ConfigError, match="mainnet_confirmed"):
            load(write(tmp_path, {"environment": "mainnet", "mainnet_confirmed": confirmed}), {})

    def test_mainnet_with_both_confirmations(self, tmp_path: Path) -> None:
        assert load(write(tmp_path, {"environment": "mainnet", "mainnet_confirmed": True}), {}).environment == "mainnet"


KEY_VARIABLES = {"BRAINSTEM_ACCOUNTS__MAIN__API_KEY": SECRET, "BRAINSTEM_ACCOUNTS__MAIN__API_SECRET": SECRET + "2"}


class TestKeys:
    @pytest.mark.parametrize("environment", ["simex", "paper"])
    def test_the_simulator_needs_none(self, environment: str) -> None:
        keys = load(None, {"BRAINSTEM_ENVIRONMENT": environment}).keys("main")
        assert [key.get_secret_value() for key in keys] == ["simex", "simex"]

    def test_testnet_key_in_the_file_works_with_a_warning(self, tmp_path: Path) -> None:
        account = {"api_key": SECRET, "api_secret": SECRET}
        config = load(write(tmp_path, {"environment": "testnet", "accounts": {"main": account}}), {})
        assert config.keys("main").api_key.get_secret_value() == SECRET
        assert len(config.warnings) == 2
        assert not any(SECRET in warning for warning in config.warnings)

    def test_testnet_key_in_the_environment_works_without_one(self) -> None:
        config = load(None, {"BRAINSTEM_ENVIRONMENT": "testnet", **KEY_VARIABLES})
        assert config.keys("main").api_secret.get_secret_value() == SECRET + "2"
        assert config.warnings == []

    def mainnet(self, tmp_path: Path, account: dict[str, str]) -> Path:
        return write(tmp_path, {"environment": "mainnet", "mainnet_confirmed": True, "accounts": {"main": account}})

    def test_mainnet_key_in_the_file_is_refused_unquoted(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as error:
            load(self.mainnet(tmp_path, {"api_key": SECRET}), {})
        assert list(faults(error)) == ["accounts.main.api_key"]
        assert SECRET not in str(error.value)

    def test_mainnet_key_from_environment_or_credential_works(self, tmp_path: Path) -> None:
        path = self.mainnet(tmp_path, {})
        folder = credentials(
            tmp_path, brainstem_accounts__main__api_key=f"{SECRET}\n", brainstem_accounts__main__api_secret=SECRET + "2"
        )
        for environ in (KEY_VARIABLES, {"CREDENTIALS_DIRECTORY": folder}):
            keys = load(path, environ).keys("main")
            assert [key.get_secret_value() for key in keys] == [SECRET, SECRET + "2"]

    def test_a_key_from_two_places_must_be_the_same(self, tmp_path: Path) -> None:
        folder = credentials(tmp_path, brainstem_accounts__main__api_key=SECRET)
        environ = {"BRAINSTEM_ENVIRONMENT": "testnet", "CREDENTIALS_DIRECTORY": folder}
        load(None, {**environ, "BRAINSTEM_ACCOUNTS__MAIN__API_KEY": SECRET})
        with pytest.raises(ConfigError) as error:
            load(None, {**environ, "BRAINSTEM_ACCOUNTS__MAIN__API_KEY": "other"})
        assert list(faults(error)) == ["accounts.main.api_key"]
        assert SECRET not in str(error.value)

    def test_a_missing_key_is_named_with_the_variable_that_sets_it(self) -> None:
        config = load(None, {"BRAINSTEM_ENVIRONMENT": "testnet"})
        with pytest.raises(ConfigError) as error:
            config.keys("main")
        assert set(faults(error)) == {"accounts.main.api_key", "accounts.main.api_secret"}
        assert "BRAINSTEM_ACCOUNTS__MAIN__API_SECRET" in str(error.value)

    def test_secrets_never_show(self) -> None:
        environ = {**KEY_VARIABLES, "BRAINSTEM_ENVIRONMENT": "testnet"}
        environ["BRAINSTEM_REDIS__URL"] = f"redis://user:{SECRET}3@host:1/0"
        config = load(None, environ)
        redis = config.section("redis", RedisSettings)
        shown = [repr(config), str(config.redacted()), str(config.raw("accounts")), repr(redis), redis.shown_url]
        assert not [text for text in shown if SECRET in text]
        assert config.secret_values() == {SECRET, SECRET + "2", SECRET + "3"}
        assert redis.shown_url == "redis://user:***@host:1/0"

    def test_the_simulator_s_public_key_is_no_secret(self) -> None:
        assert load(None, {}).secret_values() == frozenset()
