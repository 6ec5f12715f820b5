"""Benchmarks: ratios against peers in one run, rounds interleaved. Peers have environments of their own: `peers.sh`."""
