"""What several rooms' tests share: a few simulated two-slice scans, made once a process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from monai_isles.data import make_datalist
from monai_isles.io import findings, publish_json
from monai_isles.io.weights import publish_state
from monai_isles.networks import AsymmetricResUNet
from monai_isles.phantom import make_case, make_dataset
from monai_isles.phantom.ct.scan import CaseArrays
from tests.fixtures.shared import Simulated, made_once, once
from tests.reliability.children import Forks

os.environ.setdefault("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")  # see warm_workers
pytest_plugins = ["tests.fixtures.dicom", "tests.fixtures.heads", "tests.fixtures.training"]


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and tests that stay to the end."""
    gc.freeze()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a command without ``--threads`` one: the processes of a test run share the processors, and would wait."""
    monkeypatch.setattr("monai_isles.inference.malloc.allowed_threads", lambda *_: 1)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def nothing_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first remark of each kind be a warning in every test, as it is in a process of its own."""
    findings.say_once.cache_clear()
    monkeypatch.setattr(findings, "_remarked", {})


@pytest.fixture(scope="session")
def phantom_folder(series_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scans of ``series_folder`` as ``make_dataset`` makes them with ``series=False``; read only."""

    def make(folder: Path) -> None:
        shutil.copytree(series_folder, folder / "data", ignore=shutil.ignore_patterns("*4DPWI*", "list.json"))
        said = (folder / "data/SIMULATED.txt").read_text(encoding="utf-8")
        (folder / "data/SIMULATED.txt").write_text(said.replace("series yes", "series no"), encoding="utf-8")

    return made_once(tmp_path_factory, "phantom", make) / "data"


@pytest.fixture(scope="session")
def series_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated scans with their series and DWI, and their list; read only."""

    def make(folder: Path) -> None:
        data = make_dataset(folder / "data", cases=3, seed=5, series=True, max_slices=2)
        publish_json(data / "list.json", make_datalist(data, folds=2))

    return made_once(tmp_path_factory, "series", make) / "data"


@pytest.fixture(scope="session")
def unseen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated scan of another subject than those of ``phantom_folder``; read only."""

    def make(folder: Path) -> None:
        make_dataset(folder / "unseen", cases=1, seed=6, series=False, max_slices=2)

    return made_once(tmp_path_factory, "one", make) / "unseen"


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Return ``scan(number, seed)``: a two-slice scan with its series, simulated once for all processes of a run."""

    def scan_of(number: int, seed: int) -> CaseArrays:
        return once(tmp_path_factory, f"scan-{seed}-{number}", lambda: make_case(number, seed=seed, max_slices=2))

    return scan_of


@pytest.fixture(scope="session")
def scan(simulated: Simulated) -> CaseArrays:
    """The first scan of ``phantom_folder`` in memory, with its series; not to be changed."""
    return simulated(1, 5)


@pytest.fixture(scope="session")
def data_list(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of ``phantom_folder`` in two folds."""
    path = tmp_path_factory.mktemp("list") / "list.json"
    publish_json(path, make_datalist(phantom_folder, folds=2))
    return path


@pytest.fixture(scope="session")
def untrained_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the CT network as it is born, from a fixed seed."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        publish_state(folder / "model.pt", AsymmetricResUNet(2, 10).state_dict())

    return made_once(tmp_path_factory, "weights", make) / "model.pt"


@pytest.fixture(scope="session")
def warm_workers() -> None:
    """Let the processes of a Dask cluster be forked from one that has imported what a verb needs."""
    from distributed.utils import get_mp_context

    get_mp_context().set_forkserver_preload(
        ["distributed", "monai_isles.workflows.predict", "monai_isles.phantom.dataset"]
    )


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """The process that has imported everything and forks commands, each in milliseconds."""
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.close()


@pytest.fixture
def forked_folds(server: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes of a cross-validation from ``server``; ``cli/test_crossval.py`` starts them cold."""

    def run_with_parent(command: Sequence[str], log: Path, *, folder: Path | None = None, **_: object) -> int:
        shown = server.run(*command[3:], program=command[2], folder=folder or Path.cwd())
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(shown.text, encoding="utf-8")
        return shown.code

    monkeypatch.setattr("monai_isles.crossval.run.run_with_parent", run_with_parent)


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
    dist.barrier()  # a process that is done at once would close the connections that another still makes
    try:
        torch.save(work(rank), folder / f"answer-{rank}")
    except BaseException:
        (folder / f"fault-{rank}").write_text(traceback.format_exc())
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
