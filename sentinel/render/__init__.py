"""Alerts in words: from a stored alert to a neutral document, and from that to text and JSON.

Everything that came from a page is hostile: it is cleaned once, when the document is made.
"""

from __future__ import annotations

from sentinel.model import Document, DocumentField, DocumentHealth
from sentinel.render.difference import Piece, difference
from sentinel.render.document import document
from sentinel.render.payload import to_json
from sentinel.render.text import to_text
from sentinel.render.values import describe

__all__ = [
    "Document",
    "DocumentField",
    "DocumentHealth",
    "Piece",
    "describe",
    "difference",
    "document",
    "to_json",
    "to_text",
]
