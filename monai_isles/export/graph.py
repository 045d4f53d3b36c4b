"""Write TorchScript and ONNX graphs of a bundle's network, each checked against it on random windows."""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from monai_isles.bundle.bundle import Bundle
from monai_isles.errors import IslesError, refused


def strip_script(path: Path) -> None:
    """Remove the source positions from a TorchScript file: they contain absolute paths."""
    with zipfile.ZipFile(path) as archive:
        members = [(m.filename, m.compress_type, archive.read(m)) for m in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, packing, content in members:
            if not name.endswith(".debug_pkl"):
                member = zipfile.ZipInfo(name)  # of 1980: equal files for equal networks
                member.compress_type = packing
                archive.writestr(member, content)


def strip_onnx(model: Any) -> None:
    """Remove the stack traces from an ``onnx_ir.Model``: they name source files."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()


TOLERANCE = 1e-4


def build_network(bundle: Bundle) -> nn.Module:
    """Build ``network_def`` of a bundle's inference config on the CPU, with random weights."""
    return bundle.config("inference").get_parsed_content("network_def")


def load_network(bundle: Bundle, state: Mapping[str, Tensor]) -> nn.Module:
    """Build ``network_def`` of a bundle's inference config on the CPU, in evaluation mode, with these weights."""
    network = build_network(bundle)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        faults, where = " ".join(str(error).split())[:400], "inference.json: network_def"
        raise refused("E-EXP-06", where=where, found=faults, name=type(network).__name__) from error
    return network.eval()


def write_graphs(network: nn.Module, folder: Path, *, metadata: Mapping, inference: Mapping) -> dict[Path, float]:
    """Write ``model.ts`` and ``model.onnx``: the deterministic network, from a normalised window to logits.

    Return the largest deviation of each graph's logits from the network's.

    Shapes: ``(N, C, *spatial)`` in, ``(N, K, *spatial)`` out; N is free, and so is every size ``k*n`` of the metadata.
    """
    formats = metadata["network_data_format"]
    sizes = formats["inputs"]["image"]["spatial_shape"]
    channels, random = formats["inputs"]["image"]["num_channels"], torch.Generator().manual_seed(0)
    windows = []
    for batch, many in ((1, (4, 4, 4)), (3, (5, 3, 2))):
        shape = [_size(size, n) for size, n in zip(sizes, many, strict=False)]
        windows.append(torch.randn(batch, channels, *shape, generator=random))
    _require_declared(network, windows[0], formats["outputs"]["pred"])
    script, onnx = folder / "model.ts", folder / "model.onnx"
    _write_script(network, script, metadata, inference)
    _write_onnx(network, onnx, windows[-1], sizes)
    with _converting("TorchScript", network):
        made = {script: require_agreement(network, torch.jit.load(str(script), "cpu"), windows, script)}
    with _converting("ONNX", network):
        return made | {onnx: require_agreement(network, _onnx_runner(onnx), windows, onnx)}


def require_agreement(
    network: nn.Module, run: Callable[[Tensor], Tensor], windows: Sequence[Tensor], path: Path
) -> float:
    """Return the largest difference between graph and network over the windows."""
    with torch.inference_mode():
        worst = max(float((run(window) - network(window)).abs().max()) for window in windows)
    if not worst <= TOLERANCE:
        raise refused("E-EXP-08", where=str(path), found=f"logits differ by {worst:.3g}; at most {TOLERANCE:g} allowed")
    return worst


def _size(size: int | str, many: int) -> int:
    return size if isinstance(size, int) else int(size.partition("*")[0]) * many


def _require_declared(network: nn.Module, window: Tensor, declared: Mapping[str, object]) -> None:
    try:
        with torch.inference_mode():
            out = network(window)
        result = f"{out.shape[1]} channels of {str(out.dtype).removeprefix('torch.')}"
    except (RuntimeError, IslesError) as error:
        result = f"an input of {tuple(window.shape)} is refused: {' '.join(str(error).split())[:300]}"
    wanted = f"{declared['num_channels']} channels of {declared['dtype']}"
    if result != wanted:
        raise refused("E-EXP-09", where="network_data_format", found=f"{result}; declared {wanted}")


def _write_script(network: nn.Module, path: Path, metadata: Mapping, inference: Mapping) -> None:
    from monai.data import save_net_with_metadata

    with _converting("TorchScript", network):
        script = torch.jit.script(network)
    extra = {"inference.json": json.dumps(inference).encode()}
    save_net_with_metadata(
        script, str(path), include_config_vals=False, meta_values=dict(metadata), more_extra_files=extra
    )
    strip_script(path)


def _write_onnx(network: nn.Module, path: Path, window: Tensor, sizes: Sequence[int | str]) -> None:
    from torch.export import Dim

    free: dict[int, object] = {0: Dim("batch")}
    for axis, (size, name) in enumerate(zip(sizes, ("height", "width", "depth"), strict=False), start=2):
        if not isinstance(size, int):
            times = _size(size, 1)
            free[axis] = times * Dim(name) if times > 1 else Dim(name)
    with _converting("ONNX", network), torch.no_grad():
        program = torch.onnx.export(
            network, (window,), dynamo=True, verbose=False, input_names=["image"], output_names=["pred"],
            dynamic_shapes=(free,),
        )  # fmt: skip
    program = cast(torch.onnx.ONNXProgram, program)
    strip_onnx(program.model)
    program.save(str(path), external_data=False)


@contextmanager
def _converting(kind: str, network: nn.Module) -> Iterator[None]:
    """Silence PyTorch's notes on its internals, and name the network in its errors."""
    notes = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = notes.level
    notes.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)  # what torch 2.14 makes of the former
            yield
    except _conversion_faults() as error:
        faults = " ".join(str(error).split())[:400]
        raise refused("E-EXP-07", where=type(network).__name__, found=faults, kind=kind) from error
    finally:
        notes.setLevel(level)


def _conversion_faults() -> tuple[type[Exception], ...]:
    """Return the errors of PyTorch's converters and those of ONNX Runtime, which have no class in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state

    members = vars(onnxruntime_pybind11_state).values()
    found = [kind for kind in members if isinstance(kind, type) and issubclass(kind, Exception)]
    return RuntimeError, torch.jit.frontend.FrontendError, *found


def _onnx_runner(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda window: torch.from_numpy(session.run(None, {"image": window.numpy()})[0])
