"""TorchScript and ONNX compute what the network computes, at sizes they were not made with."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import monai_isles
from monai_isles.bundle import Bundle
from monai_isles.errors import IslesError
from monai_isles.export.bundle import Exported
from monai_isles.export.graph import TOLERANCE, load_network, require_agreement, write_graphs
from monai_isles.networks import AsymmetricResUNet

SIZES = [(1, 16, 16), (2, 16, 96), (5, 64, 112)]


def declared(channels: int, out: int, sizes: list[int | str]) -> dict:
    image = {"num_channels": channels, "spatial_shape": sizes, "dtype": "float32"}
    return {"network_data_format": {"inputs": {"image": image}, "outputs": {"pred": {**image, "num_channels": out}}}}


@pytest.mark.parametrize("size", SIZES)
def test_onnx_runtime_agrees_with_torch(exported: Exported, network: AsymmetricResUNet, size: tuple[int, ...]) -> None:
    session = onnxruntime.InferenceSession(str(exported.folder / "models/model.onnx"))
    window = torch.randn(size[0], 10, *size[1:])
    with torch.inference_mode():
        wanted = network(window)
    (found,) = session.run(["pred"], {"image": window.numpy()})
    assert float((torch.from_numpy(found) - wanted).abs().max()) <= 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_torchscript_agrees_with_torch(exported: Exported, network: AsymmetricResUNet, size: tuple[int, ...]) -> None:
    script = torch.jit.load(str(exported.folder / "models/model.ts"))
    window = torch.randn(size[0], 10, *size[1:])
    with torch.inference_mode():
        assert torch.equal(script(window), network(window))


def test_torchscript_runs_where_this_package_is_not_installed(exported: Exported, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['monai_isles'] = None\n"
        "import torch\n"
        f"net = torch.jit.load({str(exported.folder / 'models/model.ts')!r})\n"
        "print(tuple(net(torch.zeros(1, 10, 32, 32)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(1, 2, 32, 32)", done.stderr


@pytest.mark.parametrize("name", ["model.ts", "model.onnx"])
def test_graphs_name_no_folder_of_this_machine(exported: Exported, name: str) -> None:
    content = (exported.folder / "models" / name).read_bytes()
    for package in (monai_isles, torch):
        assert str(Path(package.__file__).parents[1]).encode() not in content


class Sharp3D(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv3d(3, 4, 3, padding=1), nn.MaxPool3d((2, 2, 1)), nn.ConvTranspose3d(4, 2, (2, 2, 1), (2, 2, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x)


def test_volumes_with_fixed_and_free_axes_leave_nothing_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    network = Sharp3D().eval()
    made = write_graphs(network, tmp_path / "models", metadata=declared(3, 2, ["2*n", "2*n", "1*n"]), inference={})
    assert [path.name for path in made] == ["model.ts", "model.onnx"] and max(made.values()) <= TOLERANCE
    write_graphs(network, tmp_path / "models", metadata=declared(3, 2, [8, "2*n", 2]), inference={})
    session = onnxruntime.InferenceSession(str(tmp_path / "models" / "model.onnx"))
    assert session.get_inputs()[0].shape == ["batch", 3, 8, "2*width", 2]
    assert sorted(os.listdir(tmp_path / "models")) == ["model.onnx", "model.ts"]
    assert not [p for p in (tmp_path / "temporary").rglob("*") if p.is_file()]


class Wordy(nn.Module):
    def forward(self, *x: Tensor) -> Tensor:
        return x[0]


def test_a_network_that_cannot_be_scripted_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        IslesError, match="E-EXP-07: network cannot be turned into TorchScript\n.*Wordy(?s:.*)--no-graphs"
    ):
        write_graphs(Wordy(), tmp_path, metadata=declared(2, 2, ["8*n", "8*n"]), inference={})


def test_a_fault_of_onnx_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_isles.export.graph._write_onnx", lambda network, path, *rest: path.write_bytes(b"none"))
    with pytest.raises(IslesError, match="E-EXP-07: network cannot be turned into ONNX\n.*Conv2d(?s:.*)Protobuf"):
        write_graphs(nn.Conv2d(2, 2, 1), tmp_path, metadata=declared(2, 2, ["8*n", "8*n"]), inference={})


@pytest.mark.parametrize("offset", [2e-4, float("nan")])
def test_a_graph_that_computes_something_else_is_refused(offset: float) -> None:
    network = nn.Conv2d(1, 1, 1)
    with pytest.raises(IslesError, match="E-EXP-08: graph does not compute what the network computes\n.*model.onnx"):
        require_agreement(network, lambda x: network(x) + offset, [torch.zeros(1, 1, 4, 4)], Path("model.onnx"))


def test_a_graph_within_tolerance_passes() -> None:
    network = nn.Conv2d(1, 1, 1)
    windows = [torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)]
    worst = require_agreement(network, lambda x: network(x) + 5e-5 * x, windows, Path("model.onnx"))
    assert worst == pytest.approx(5e-5, rel=1e-2)


@pytest.mark.parametrize(
    ("channels", "out", "words"), [(10, 3, "2 channels of float32; declared 3"), (9, 2, r"\(1, 9, 64, 64\) is refused")]
)
def test_a_network_unlike_its_metadata_is_refused(
    network: AsymmetricResUNet, tmp_path: Path, channels: int, out: int, words: str
) -> None:
    with pytest.raises(IslesError, match=rf"E-EXP-09: network is not what the metadata declares(?s:.*){words}"):
        write_graphs(network, tmp_path, metadata=declared(channels, out, ["16*n", "16*n"]), inference={})


@pytest.mark.parametrize("state", [nn.Conv2d(1, 1, 1).state_dict(), {"epoch": 3}, []], ids=["other", "run", "list"])
def test_weights_of_another_network_are_refused(bundle: Path, state: object) -> None:
    with pytest.raises(
        IslesError, match="E-EXP-06: the weights belong to another network\n.*inference.json(?s:.*)AsymmetricResUNet"
    ):
        load_network(Bundle(bundle), state)
