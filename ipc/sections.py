"""Section names of `config.json`: each process validates its own and refuses names that are nobody's."""

from __future__ import annotations

SECTIONS: dict[str, str] = {
    "environment": "simex, paper, testnet or mainnet (a plain value)",
    "mainnet_confirmed": "the second confirmation mainnet needs (a plain value)",
    "state_dir": "where journals and checkpoints live (a plain value)",
    "run_dir": "where sockets live (a plain value)",
    "accounts": "per account: keys, symbols, leverage, margin and position mode, rights, risk limits (gateway)",
    "redis": "url, or nothing for a private server (gateway, brain, tools, supervisor)",
    "gateway": "streams, publishing, order path, leases, what SIGTERM does (gateway)",
    "venue": "addresses that replace an environment's own (gateway)",
    "simex": "rest and ws addresses, or how the supervisor starts one (gateway, supervisor)",
    "brains": "list of brains: name, strategy, symbols, account, parameters (brain, gateway, supervisor)",
    "brain": "poll interval, slice age, lease renewal of every brain (brain)",
    "log": "level, format, file, rotation (all)",
    "supervisor": "restart limits (supervisor)",
}
