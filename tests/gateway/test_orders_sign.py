"""Signatures: the documented vectors, the recorded request forms, encoding, and that no secret ever shows."""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.order_venue import Clock
from gateway.venues.binance import order_requests
from gateway.venues.binance.sign import Signer, encode_params

FUTURES = Signer(
    "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83",
    "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9",
)
SPOT = Signer(
    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
)
A = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
A_ORDER = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943"
)
B = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=9000&recvWindow=5000&timestamp=1591702613943"
BATCH = (
    "batchOrders=%5B%7B%22symbol%22%3A%22BTCUSDT%22%2C%22side%22%3A%22BUY%22%2C%22type%22%3A%22LIMIT%22%2C%22quantity"
    "%22%3A%220.010%22%2C%22price%22%3A%229000.0%22%2C%22timeInForce%22%3A%22GTX%22%2C%22newClientOrderId%22%3A%22a1-"
    "0001%22%7D%5D&recvWindow=5000&timestamp=1591702613943"
)
BATCH_CANCEL = (
    "symbol=BTCUSDT&origClientOrderIdList=%5B%22a1-0001%22%2C%22a1-0002%22%5D&recvWindow=5000&timestamp=1591702613943"
)
SPOT_A = (
    "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
)
SPOT_B = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
SPOT_WIDE = (
    "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1"
    "&price=0.1&recvWindow=5000&timestamp=1499827319559"
)
CHINESE = "symbol=%E6%B5%8B%E8%AF%95USDT&side=BUY&type=MARKET&quantity=1&timestamp=1760000007980"


@pytest.mark.parametrize(
    ("signer", "payload", "digest"),
    [
        (FUTURES, A, "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"),
        (FUTURES, A_ORDER, "ec11dcc17e67e47f0d3c3f513dfe9062307e37619c5c82ebaa8fe0bdf3d59519"),
        (FUTURES, B, "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"),
        (FUTURES, CHINESE, "f5a675acf0ed2365094143f2921df08b17ba837118e5e06178defa1b39d60116"),
        (FUTURES, BATCH, "26a3218690ce762931b5364345fe7ab6e2cbccc5c263c4f16629f50c53203353"),
        (FUTURES, BATCH_CANCEL, "ae72245849d0d857b8ba0746aa4aa738441a40c4f5cd6842cf5683d5b44f5b1b"),
        (SPOT, SPOT_A, "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        (SPOT, SPOT_B, "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"),
        (SPOT, SPOT_WIDE, "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)
def test_documented_vectors(signer: Signer, payload: str, digest: str) -> None:
    assert signer.sign(payload.encode()) == digest


def test_encoding_gives_the_documented_strings() -> None:
    """From plain values to exactly the signed text: wide digits, Chinese, JSON lists."""
    wide = [("symbol", "１２３４５６"), *parse_qsl(SPOT_WIDE.split("&", 1)[1])]
    assert encode_params(wide) == SPOT_WIDE
    assert encode_params(parse_qsl(BATCH)) == BATCH
    assert encode_params(parse_qsl(BATCH_CANCEL)) == BATCH_CANCEL
    assert encode_params([("symbol", "测试USDT"), *parse_qsl(CHINESE.split("&", 1)[1])]) == CHINESE
    assert FUTURES.query(parse_qsl(A)) == f"{A}&signature={FUTURES.sign(A.encode())}"


@given(st.text(min_size=1, max_size=200), st.binary(max_size=300))
def test_it_is_hmac_sha256_for_any_secret_and_payload(secret: str, payload: bytes) -> None:
    """Keys below, at and above the block size of 64 bytes."""
    expected = (
        hmac.new(secret.encode(errors="surrogatepass"), payload, hashlib.sha256).hexdigest() if _ok(secret) else None
    )
    if expected is not None:
        assert Signer("key", secret).sign(payload) == expected


def _ok(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.text("abcXYZ019", min_size=1, max_size=8), values), max_size=8))
def test_any_value_comes_out_as_it_went_in(params: list[tuple[str, str]]) -> None:
    """`&`, `=`, `%`, white space inside values never become structure."""
    text = encode_params(params)
    assert text.isascii() and " " not in text
    assert parse_qsl(text, keep_blank_values=True, strict_parsing=bool(params)) == params


def test_an_empty_value_is_an_error_not_a_request() -> None:
    with pytest.raises(ValueError, match="orderId"):
        encode_params([("symbol", "BTCUSDT"), ("orderId", ""), ("price", "1")])
    with pytest.raises(ValueError, match="price"):
        encode_params([("symbol", "BTCUSDT"), ("price", "")])


def test_the_secret_never_shows() -> None:
    secret = "s3cr3t-value-of-this-test"
    signer = Signer("the-key", secret)
    assert secret not in repr(signer) + str(signer) and "the-key" not in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)
    with pytest.raises(ValueError, match="must not be empty") as error:
        Signer("", secret)
    assert secret not in str(error.value)


CLOCK = Clock(1718723127466, 10000)
IGNORED = {"signature", "timestamp", "recvWindow", "newClientOrderId", "newOrderRespType"}


def _vectors(data_dir: Path) -> list[dict[str, str]]:
    text = (data_dir / "request_vectors" / "ccxt_binance_usdm.json").read_text()
    loaded: list[dict[str, str]] = json.loads(text)
    return loaded


def _asked(vector: dict[str, str]) -> set[tuple[str, str]]:
    text = vector["body"] if vector["body"] else urlsplit(vector["url"]).query
    return {pair for pair in parse_qsl(text) if pair[0] not in IGNORED}


@pytest.mark.recordings
def test_our_requests_carry_the_recorded_parameters(data_dir: Path) -> None:
    """ccxt's own fixtures of plain orders: the same path, method and parameters (as a set) from our builder."""
    seen = 0
    for vector in _vectors(data_dir):
        path = urlsplit(vector["url"]).path
        asked = dict(_asked(vector))
        if path != order_requests.ORDER_PATH or vector["http"] == "PUT" or "priceMatch" in asked:
            continue
        seen += 1
        if vector["http"] == "POST":
            hedge = "positionSide" in asked
            call = order_requests.place(
                CLOCK, symbol=asked["symbol"], side=asked["side"], type_=asked["type"],
                qty=Decimal(asked["quantity"]), price=Decimal(asked["price"]) if "price" in asked else None,
                tif=asked.get("timeInForce"), leg=asked.get("positionSide", "BOTH"),
                reduce_only="reduceOnly" in asked or hedge, hedge=hedge, client_order_id="a1-0001",
            )  # fmt: skip
        else:
            ask = order_requests.cancel if vector["http"] == "DELETE" else order_requests.query
            call = ask(CLOCK, asked["symbol"], asked["origClientOrderId"], None)
        assert (call.method, call.path) == (vector["http"], path)
        assert {pair for pair in call.params if pair[0] not in IGNORED} == _asked(vector), vector["description"]
    assert seen == 10
