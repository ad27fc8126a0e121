"""Reading a value from a page: one way to read per file.

`extract` reads here and now; `open_extractor` gives an `Extractor` that reads what may be costly in
a child process with limits. `check_extraction` finds what is wrong when a rule is saved.
"""

from sentinel.extract.check import check_extraction
from sentinel.extract.contained import Extractor, open_extractor
from sentinel.extract.reading import extract

__all__ = ["Extractor", "check_extraction", "extract", "open_extractor"]
