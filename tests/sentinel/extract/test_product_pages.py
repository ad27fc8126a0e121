"""Real product pages: ten in data/, all of the corpus where it lies beside the repository."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE = Path(__file__).parent / "data"
CORPUS = REPOSITORY.parent / "shared" / "corpora" / "product-pages"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "bench_product_pages", REPOSITORY / "bench" / "product_pages.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # msgspec looks its structs' annotations up there
    spec.loader.exec_module(module)
    return module


def folders() -> list[object]:
    corpus = pytest.param(
        CORPUS, id="corpus", marks=pytest.mark.skipif(not CORPUS.exists(), reason="not here")
    )
    return [pytest.param(SAMPLE, id="sample"), corpus]


@pytest.mark.parametrize("folder", folders())
@pytest.mark.parametrize(
    ("method", "attribute", "floor"),
    [
        ("schema", "price", 0.7),
        ("auto", "price", 0.8),
        ("schema", "availability", 0.55),
        ("auto", "availability", 0.7),
    ],
)
def test_real_pages_are_read(
    bench: ModuleType, folder: Path, method: str, attribute: str, floor: float
) -> None:
    score, _ = bench.measure(folder, method, attribute)
    print(f"{folder.name} {method} {attribute}: {score} F1 {score.f1:.3f}")
    assert score.f1 >= floor
    assert score.invented == 0
