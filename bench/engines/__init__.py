"""One engine per file, all with the face of `bench.engines.face`; each is a program of its own.

An engine may live in an environment of its own (`.venv/bench`), so nothing is imported from here:
the bench starts `python -m bench.engines.NAME` and reads one line of JSON.
"""
