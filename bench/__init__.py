"""Figures that can be repeated: streamq beside its peers and beside the raw limit, on one server.

`python -m bench --help`, bench/README.md. Nothing outside bench/ imports this.
"""
