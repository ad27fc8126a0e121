"""Brings a page home: guarded, bounded, within its deadline, and judged for what stands in the way.

`guard` is the only code that opens a socket to an address somebody wrote; everything else here
builds on it. The front door is `fetcher.Fetcher`.
"""

from __future__ import annotations
