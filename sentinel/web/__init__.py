"""What a worker tells over HTTP: its metrics, whether it lives, whether it is ready."""

from __future__ import annotations
