#!/usr/bin/python3
"""Side-by-side measurement of sluice against Envoy, haproxy, nginx and no proxy at all. See README.md.

Everything runs in network namespaces that this program makes and removes; the load generator and the origin server are
pinned to one core, the proxies to the other; every measure is taken A B A B over the proxies, and ratios are taken
within a round.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]  # benchlib, and test/support

from benchlib.cli import main  # noqa: E402  (the path comes first)

if __name__ == "__main__":
    main(__doc__)
