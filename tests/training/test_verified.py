"""Evaluators take verified weights only, and their tables are there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.io import load_state
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state
from monai_isles.training import VerifiedWeights, WholeMetricsSaver


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "bundle/models/model.pt"
    publish_state(path, nn.Linear(2, 3).state_dict())
    return path


def start(path: Path, network: nn.Module) -> None:
    engine = Engine(lambda engine, batch: None)
    VerifiedWeights(str(path), network).attach(engine)
    engine.run([0])


def test_the_weights_are_in_the_network_when_the_run_starts(weights: Path) -> None:
    torch.manual_seed(1)
    wanted, network = nn.Linear(2, 3), nn.Linear(2, 3)
    start(weights, SimpleNamespace(module=network))
    assert torch.equal(network.weight, wanted.weight)


def test_the_checksum_of_the_bundle_counts(weights: Path) -> None:
    stated = weights.parents[1] / "metadata.json"
    stated.write_text(json.dumps({"weights_sha256": sha256_of(weights)}))
    start(weights, nn.Linear(2, 3))
    stated.write_text(json.dumps({"weights_sha256": "0" * 64}))
    with pytest.raises(IslesError, match="E-SAFE-03(?s:.*)model.pt"):
        start(weights, nn.Linear(2, 3))


def test_damage_and_another_network_are_refused(weights: Path) -> None:
    with pytest.raises(IslesError, match=r"E-INF-12(?s:.*)weight: \(3, 2\) for \(3, 4\)"):
        start(weights, nn.Linear(4, 3))
    raw = bytearray(weights.read_bytes())
    raw[raw.index(load_state(weights)["weight"].numpy().tobytes())] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(IslesError, match="E-FILE-15"):
        start(weights, nn.Linear(2, 3))


def saver(folder: Path) -> WholeMetricsSaver:
    return WholeMetricsSaver(str(folder), metrics="*")


def test_tables_appear_whole_and_nothing_else(tmp_path: Path) -> None:
    engine = SimpleNamespace(state=SimpleNamespace(metrics={"dsc": 0.5}))
    saver(tmp_path / "scores")(engine)
    assert [p.name for p in (tmp_path / "scores").iterdir()] == ["metrics.csv"]
    assert "dsc\t0.5" in (tmp_path / "scores/metrics.csv").read_text().replace(",", "\t")


def test_a_fault_leaves_the_tables_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SimpleNamespace(state=SimpleNamespace(metrics={"dsc": 0.5}))
    saver(tmp_path)(engine)
    before = (tmp_path / "metrics.csv").read_bytes()
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    engine.state.metrics["dsc"] = 0.9
    with pytest.raises(IslesError, match=r"E-FILE-10(?s:.*)metrics\.csv(?s:.*)No space left"):
        saver(tmp_path)(engine)
    assert (tmp_path / "metrics.csv").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
