"""The I/O process: streams, book, publishing, order path, rate governor, journal, reconciliation, venues.

`app.py` is the composition root: read it first. `core/` and `venues/` are pure; `shell/` moves bytes.
"""
