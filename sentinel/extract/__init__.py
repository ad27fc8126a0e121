"""Reading a value from a page: one way to read per file."""

from sentinel.extract.check import check_extraction
from sentinel.extract.reading import extract

__all__ = ["check_extraction", "extract"]
