"""What several rooms' tests share: a few simulated two-slice scans, made once a process."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from monai_isles.io import findings, publish_state
from monai_isles.networks import AsymmetricResUNet
from monai_isles.phantom import make_dataset

pytest_plugins = ["tests.fixtures.dicom", "tests.fixtures.heads", "tests.fixtures.training"]


@pytest.fixture(autouse=True)
def nothing_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first remark of each kind be a warning in every test, as it is in a process of its own."""
    monkeypatch.setattr(findings, "_said", set())


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated scans without their series; read only."""
    return make_dataset(tmp_path_factory.mktemp("phantom") / "data", cases=3, seed=5, series=False, max_slices=2)


@pytest.fixture(scope="session")
def untrained_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the CT network as it is born, from a fixed seed."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    publish_state(path, AsymmetricResUNet(2, 10).state_dict())
    return path


@pytest.fixture
def in_group(tmp_path: Path) -> Callable[..., list]:
    """Call ``work(rank)`` in forked processes that share a gloo group; return what each returned, in order."""

    def run(work: Callable[[int], object], world: int = 2) -> list:
        folder = tmp_path / f"group-{len(list(tmp_path.glob('group-*')))}"
        folder.mkdir()
        fork = multiprocessing.get_context("fork")
        children = [fork.Process(target=_one_of_a_group, args=(work, rank, world, folder)) for rank in range(world)]
        for child in children:
            child.start()
        for child in children:
            child.join(timeout=120)
        hung = [rank for rank, child in enumerate(children) if child.is_alive()]
        for child in children:
            child.kill()
        faults = [path.read_text() for path in sorted(folder.glob("fault-*"))]
        assert not hung and not faults, f"hung: {hung}\n" + "\n".join(faults)
        return [torch.load(folder / f"answer-{rank}", weights_only=False) for rank in range(world)]

    return run


def _one_of_a_group(work: Callable[[int], object], rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    try:
        torch.save(work(rank), folder / f"answer-{rank}")
    except BaseException:
        (folder / f"fault-{rank}").write_text(traceback.format_exc())
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
