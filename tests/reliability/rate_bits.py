"""Of bits flipped at random in an image, a checkpoint and a cache entry: how many are noticed, how many do nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FLIPS = 200


@dataclass
class Flips:
    """What became of ``total`` files with one flipped bit each.

    Args:
        ignorable: byte positions whose flip changes nothing that is read: the content came back equal.
        wrong: positions whose flip gave other content without a word, or an error that is none of ours.
    """

    name: str
    total: int = 0
    found: int = 0
    ignorable: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the rate in words."""
        counted = self.total - len(self.ignorable)
        rate = f"{self.found / counted:.0%}" if counted else "none counted"
        return (
            f"{self.name} {self.found} of {counted} ({rate}), {len(self.ignorable)} flips changed nothing that is read"
        )


def flip_rates(folder: Path, *, flips: int = FLIPS, seed: int = 2018) -> list[Flips]:
    """Return the counts for an image (``.nii.gz``), a training checkpoint and an entry of the cache.

    A flip is found when the file is refused by one of our errors (the cache: the entry is dropped and made again). A
    flip is ignorable when what is read is equal to what was written, bit for bit: in a gzip file the time, the flags of
    the packer and its system; in a zip archive dates, permissions and the bytes between members; in a JSON file the
    spaces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    return [
        _image(folder / "image.nii.gz", flips, rng),
        _checkpoint(folder / "checkpoint.pt", flips, rng),
        _cache(folder / "cache", flips, rng),
    ]


def _image(path: Path, flips: int, rng: np.random.Generator) -> Flips:
    from monai_isles.io import Image, read_image
    from monai_isles.io.publish import publish_image

    data = rng.normal(40, 10, (32, 32, 4)).astype(np.float32)
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    like = Image(data, affine, (1.0, 1.0, 5.0), path.with_name("none"), "", affine, data.shape)
    publish_image(path, data, like, dtype="float32")

    def read() -> bytes:
        image = read_image(path, kind="ct")
        return image.data.tobytes() + image.affine.tobytes()

    return _count("image", path, read, flips, rng)


def _checkpoint(path: Path, flips: int, rng: np.random.Generator) -> Flips:
    import torch

    from monai_isles.io import load_state
    from monai_isles.io.weights import publish_state

    shapes = {"conv.weight": (16, 4, 3, 3), "conv.bias": (16,), "head.weight": (2, 16)}
    tensors = {name: torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()}
    publish_state(path, {"epoch": 3, "best": 0.25, "network": tensors, "random": torch.get_rng_state()})

    def read() -> bytes:
        state = load_state(path)
        network = b"".join(name.encode() + value.numpy().tobytes() for name, value in state["network"].items())
        return repr((list(state), state["epoch"], state["best"])).encode() + network + state["random"].numpy().tobytes()

    return _count("checkpoint", path, read, flips, rng)


def _cache(folder: Path, flips: int, rng: np.random.Generator) -> Flips:
    from monai_isles.errors import IslesError
    from monai_isles.io.cache import Cache

    cache, key = Cache(folder), "0" * 64
    cache.write(key, rng.bytes(300))
    path = cache.path(key)

    def read() -> bytes:
        found = cache.read(key)
        if found is None:
            raise IslesError("E-NONE-00", "entry dropped", where=str(path), found="damage", fix="it is made again")
        return found

    return _count("cache entry", path, read, flips, rng)


def _count(name: str, path: Path, read: Callable[[], bytes], flips: int, rng: np.random.Generator) -> Flips:
    from monai_isles.errors import IslesError

    logging.disable(logging.WARNING)
    whole, truth, seen = path.read_bytes(), read(), Flips(name)
    try:
        for _ in range(flips):
            at, bit = int(rng.integers(len(whole))), int(rng.integers(8))
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            path.write_bytes(bytes(damaged))
            seen.total += 1
            try:
                same = read() == truth
            except IslesError:
                seen.found += 1
                continue
            except Exception as error:
                seen.wrong.append(f"byte {at} bit {bit}: {type(error).__name__}: {str(error)[:100]}")
                continue
            if same:
                seen.ignorable.append(at)
            else:
                seen.wrong.append(f"byte {at} bit {bit}: other content")
    finally:
        path.write_bytes(whole)
        logging.disable(logging.NOTSET)
    return seen
