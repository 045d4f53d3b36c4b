"""Ways to damage a NIfTI file, each by name, all from one random generator, for ``tests/fuzz/run.py``."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass

import nibabel
import numpy as np

INTEGERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 1000, 4096, 32767, -1, -2, -32768)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-38, 1e-6, 1e6, 1e30, -1e30, float("nan"), float("inf"), float("-inf"), 352.0)
UNDETECTABLE = ("payload bit, not compressed", "payload value, packed anew")


@dataclass(frozen=True)
class Mutant:
    """A damaged file: its bytes, its suffix (``.nii``, ``.nii.gz``, ``.dcm``) and what was done."""

    stored: bytes
    suffix: str
    name: str


def mutate_nifti(raw: bytes, rng: np.random.Generator) -> Mutant:
    """Return one damaged version of a whole, uncompressed NIfTI-1 file."""
    names = list(_STORED) + list(_RAW)
    name = names[int(rng.integers(len(names)))]
    zipped = bool(rng.integers(2)) or name.startswith("gzip")
    if name in _RAW:
        changed = _RAW[name](bytearray(raw), rng)
        stored = gzip.compress(bytes(changed), 6, mtime=0) if zipped else bytes(changed)
        if name == "payload bit":
            name = UNDETECTABLE[1] if zipped else UNDETECTABLE[0]
        return Mutant(stored, ".nii.gz" if zipped else ".nii", name)
    whole = gzip.compress(raw, 6, mtime=0) if zipped else raw
    return Mutant(bytes(_STORED[name](bytearray(whole), rng)), ".nii.gz" if zipped else ".nii", name)


def flip_bits(data: bytearray, rng: np.random.Generator, count: int | None = None, start: int = 0) -> bytearray:
    """Flip one to eight bits anywhere from ``start`` on."""
    for _ in range(count or int(rng.integers(1, 9))):
        data[int(rng.integers(start, len(data)))] ^= 1 << int(rng.integers(8))
    return data


def one_bit(data: bytearray, rng: np.random.Generator) -> bytearray:
    return flip_bits(data, rng, 1)


def cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(len(data)))]


def append(data: bytearray, rng: np.random.Generator) -> bytearray:
    more = int(rng.choice([1, 2, 7, 16, 100, 5000]))
    return data + (bytes(more) if rng.integers(2) else rng.bytes(more))


def insert(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(len(data)))
    return data[:at] + rng.bytes(int(rng.integers(1, 40))) + data[at:]


def delete(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(len(data)))
    return data[:at] + data[at + int(rng.integers(1, 40)) :]


def zero_block(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 600))
    data[at : at + length] = bytes(len(data[at : at + length]))
    return data


def swap_blocks(data: bytearray, rng: np.random.Generator) -> bytearray:
    size = min(64, len(data) // 4)
    a, b = sorted(int(n) for n in rng.integers(0, len(data) - size, 2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def noise(data: bytearray, rng: np.random.Generator) -> bytearray:
    return bytearray(rng.bytes(int(rng.integers(1, 3000))))


def text(data: bytearray, rng: np.random.Generator) -> bytearray:
    return bytearray(b"<html><body>404 not found</body></html>\n" * int(rng.integers(1, 50)))


def _other_flag(data: bytearray, rng: np.random.Generator) -> bytearray:
    data[int(rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))] = int(rng.integers(256))
    return data


def _trailer(data: bytearray, rng: np.random.Generator) -> bytearray:
    data[-int(rng.integers(1, 9))] ^= int(rng.integers(1, 256))
    return data


def _members(data: bytearray, rng: np.random.Generator) -> bytearray:
    raw, at = gzip.decompress(bytes(data)), int(rng.integers(1, 3000))
    split = gzip.compress(raw[:at]) + gzip.compress(raw[at:])
    return bytearray(
        (
            split,
            split[: int(rng.integers(len(split)))],
            bytes(data) + bytes(data),
            bytes(data) + gzip.compress(b""),
            bytes(data[: len(data) // 2]) + bytes(data),
            bytes(data) + bytes(int(rng.integers(1, 600))),
            bytes(data) + b"\x1f\x8b" + rng.bytes(30),
        )[int(rng.integers(7))]
    )


def _bomb(data: bytearray, rng: np.random.Generator) -> bytearray:
    return bytearray(gzip.compress(gzip.decompress(bytes(data)) + bytes(2 ** int(rng.integers(20, 28))), 1))


def _fields(*names: str) -> Callable[[bytearray, np.random.Generator], bytearray]:
    """Return a mutation that sets one or two of the named header fields (any, without names) to odd values."""

    def change(data: bytearray, rng: np.random.Generator) -> bytearray:
        header = np.frombuffer(bytes(data[:348]), nibabel.nifti1.header_dtype).copy()
        for _ in range(int(rng.integers(1, 3))):
            name = str(rng.choice(names or header.dtype.names))
            field = header[name]
            if field.dtype.kind == "S":
                header[name] = rng.bytes(field.dtype.itemsize)
            elif field.ndim > 1:
                field[0, int(rng.integers(field.shape[1]))] = _odd(field.dtype, rng)
            else:
                field[0] = _odd(field.dtype, rng)
        data[:348] = header.tobytes()
        return data

    return change


def _odd(dtype: np.dtype, rng: np.random.Generator) -> object:
    if dtype.kind == "f":
        return rng.choice(FLOATS) if rng.integers(3) else rng.normal(0, 10 ** rng.uniform(-3, 6))
    information = np.iinfo(dtype)
    value = int(rng.choice(INTEGERS)) if rng.integers(3) else int(rng.integers(-(2**31), 2**31))
    return int(np.clip(value, information.min, information.max))


def _extension(data: bytearray, rng: np.random.Generator) -> bytearray:
    size = int(rng.choice([-16, 0, 1, 8, 15, 16, 32, 2**30, 2**31 - 1]))
    block = struct.pack("<4B2i", 1, 0, 0, 0, size, int(rng.choice([0, 2, 4, 6]))) + rng.bytes(24)
    voxels = bytes(data[352:])
    if rng.integers(2):
        data[108:112] = struct.pack("<f", 348 + len(block))
    return data[:348] + block + voxels


def _swapped_header(data: bytearray, rng: np.random.Generator) -> bytearray:
    header = nibabel.Nifti1Header(bytes(data[:348]), check=False).as_byteswapped()
    return bytearray(header.binaryblock) + data[348:]


def _payload_bit(data: bytearray, rng: np.random.Generator) -> bytearray:
    return flip_bits(data, rng, int(rng.integers(1, 4)), start=352)


def _header_bit(data: bytearray, rng: np.random.Generator) -> bytearray:
    data[int(rng.integers(348))] ^= 1 << int(rng.integers(8))
    return data


def _not_finite(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = 352 + 4 * int(rng.integers((len(data) - 352) // 4))
    data[at : at + 4] = struct.pack("<f", float(rng.choice([np.nan, np.inf, -np.inf, 3e38])))
    return data


_STORED = {
    "flipped bits": flip_bits,
    "one flipped bit": one_bit,
    "cut": cut,
    "bytes after the end": append,
    "bytes put in": insert,
    "bytes taken out": delete,
    "a block of zeros": zero_block,
    "two blocks exchanged": swap_blocks,
    "noise": noise,
    "another kind of file": text,
    "gzip header": _other_flag,
    "gzip trailer": _trailer,
    "gzip members": _members,
    "gzip bomb": _bomb,
}
_RAW = {
    "any field": _fields(),
    "dimensions": _fields("dim"),
    "number type": _fields("datatype", "bitpix"),
    "offset": _fields("vox_offset", "extents", "magic", "sizeof_hdr"),
    "scale": _fields("scl_slope", "scl_inter"),
    "affine": _fields("srow_x", "srow_y", "srow_z", "pixdim", "quatern_b", "quatern_c", "quatern_d", "qoffset_x"),
    "orientation codes": _fields("sform_code", "qform_code", "xyzt_units"),
    "header bit": _header_bit,
    "header of the other byte order": _swapped_header,
    "extension": _extension,
    "payload bit": _payload_bit,
    "a value that is not finite": _not_finite,
}
