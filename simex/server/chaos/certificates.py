"""The certificates of the TLS door: a good one of an authority made at the start (or given), and wrong ones."""

import datetime
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

Undo = Callable[[], None]


class Certificates:
    """One server context whose certificate can be swapped: new handshakes see the new one.

    `folder` keeps the files while the exchange runs. Without `given` files an authority is made; clients trust
    `ca_file`. With them there is no `ca_file`, and the only wrong certificate is one of a strange authority.
    """

    def __init__(self, host: str, folder: Path, given: tuple[Path, Path] | None = None) -> None:
        import trustme  # slow to import, and most starts need none of it

        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._folder = folder
        self._refusing = 0
        self._shown: list[tuple[Path, Path]] = []
        """Wrong certificates that are on, the newest last."""
        self._names = tuple(dict.fromkeys((_name(host), "localhost", "127.0.0.1", "::1")))
        self._stranger = trustme.CA()
        self._authority: trustme.CA | None = None
        self.ca_file: Path | None = None
        if given is None:
            self._authority = trustme.CA()
            self.ca_file = folder / "ca.pem"
            self._authority.cert_pem.write_to_path(str(self.ca_file))
            self._good = self._write("good", self._authority.issue_cert(*self._names))
        else:
            self._good = given
        self._load(self._good)

    def refuse(self) -> Undo:
        """Refuse handshakes by an alert until the returned callable is called."""

        def alert(_socket: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int:
            return int(ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE)

        self._refusing += 1
        self.context.sni_callback = alert  # it is asked without a server name, too
        return self._welcome

    def wrong(self, variant: str) -> Undo:
        """Show an `untrusted`, a `wrong_host` or an `expired` certificate until the returned callable is called."""
        if variant != "untrusted" and self._authority is None:
            raise ValueError(f"fault tls_certificate: {variant} needs simex's own authority: start without --cert")
        pair = self._write(f"{variant}-{len(self._shown)}", self._issue(variant))
        self._load(pair)
        self._shown.append(pair)

        def undo() -> None:
            self._shown.remove(pair)
            self._load(self._shown[-1] if self._shown else self._good)

        return undo

    def _welcome(self) -> None:
        self._refusing -= 1
        if not self._refusing:
            self.context.sni_callback = None

    def _issue(self, variant: str) -> "trustme.LeafCert":
        if variant == "untrusted" or self._authority is None:
            return self._stranger.issue_cert(*self._names)
        if variant == "wrong_host":
            return self._authority.issue_cert("somewhere-else.example")
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        return self._authority.issue_cert(
            *self._names, not_before=yesterday - datetime.timedelta(days=90), not_after=yesterday
        )

    def _write(self, name: str, leaf: "trustme.LeafCert") -> tuple[Path, Path]:
        chain, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(leaf.private_key_pem.bytes())
        return chain, key

    def _load(self, pair: tuple[Path, Path]) -> None:
        try:
            self.context.load_cert_chain(*pair)
        except OSError as error:  # ssl.SSLError is one too
            raise ValueError(f"certificate {pair[0]}, key {pair[1]}: {error}") from error


def _name(host: str) -> str:
    """A wildcard address is no name that a client would ask for."""
    return "localhost" if host in ("0.0.0.0", "::") else host
