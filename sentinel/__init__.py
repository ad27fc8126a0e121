"""Sentinel: rules watch web pages and APIs, and tell the right people when what matters changes."""

from __future__ import annotations
