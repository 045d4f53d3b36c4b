"""Export a bundle: layout, weights, graphs, metadata, checksums and one zip, built aside and moved whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from monai_isles.errors import IslesError
from monai_isles.export.graph import Graph, build_network, load_network, write_graphs
from monai_isles.export.layout import CARD, METADATA, NEEDED, WEIGHTS, settle, write_json, write_layout
from monai_isles.export.metadata import check_metadata, complete_metadata
from monai_isles.bundle.configs import judge_bundle
from monai_isles.io.weights import load_state, publish_state
from monai_isles.io.archives import pack_zip
from monai_isles.io.findings import refuse
from monai_isles.io.checksums import sha256_of
from monai_isles.io.publish import PART

CHECKSUMS = "SHA256SUMS"
_NOTICE = "> These weights (SHA-256 {}) replace the released ones: no result below was measured with them.\n\n"


@dataclass(frozen=True)
class Exported:
    """What an export left behind.

    Args:
        checksums: SHA-256 by file, relative to ``folder``.
        differences: largest deviation of each graph's logits from the network's, by file.
        dropped: measured results left out of the metadata because they belong to other weights.
    """

    folder: Path
    archive: Path
    archive_sha256: str
    checksums: dict[str, str]
    differences: dict[str, float]
    dropped: list[str]


def export_bundle(
    source: Path,
    out: Path,
    *,
    weights: Path | None = None,
    graphs: bool = True,
    force: bool = False,
    settings: Mapping[str, float] | None = None,
) -> Exported:
    """Write ``<out>/<name>/`` in the bundle specification's layout and ``<out>/<name>.zip`` of it.

    Args:
        source: a flat bundle such as ``bundles/clerigues``; never changed. Where its network has no parameters and it
            carries no weights, the export holds a state dictionary without entries, as the specification wants a file.
        out: a folder that does not exist or is empty.
        weights: a state dict in place of ``models/model.pt``.
        graphs: write TorchScript and ONNX too.
        force: ``out`` may be in use; an earlier export of this bundle there is replaced, nothing else.
        settings: values in place of those of ``inference.json`` and ``evaluate.json``, as a search chose them.
    Raises:
        IslesError: ``E-EXP-01`` to ``10``, ``E-SAFE-*`` for a config that asks for more than a bundle may, and those
            of ``monai_isles.io.load_state``.
    Source: MONAI bundle specification; ``tests/export/test_bundle.py``.
    """
    source, out = Path(source).resolve(), Path(out).absolute()
    chosen = Path(weights) if weights is not None else source / WEIGHTS
    _require_complete(source, chosen)
    refuse(judge_bundle(source))
    metadata = _read_metadata(source)
    _require_room(source, out, force)
    aside = out.with_name(f"{PART}{uuid4().hex[:8]}-{out.name}")
    folder = aside / source.name
    try:
        folder.mkdir(parents=True)
        if not chosen.is_file():
            publish_state(chosen := aside / "empty.pt", {})
        state = load_state(chosen, sha256=None if weights is not None else metadata.get("weights_sha256"))
        write_layout(source, folder, chosen)
        (aside / "empty.pt").unlink(missing_ok=True)
        settle(folder / "configs", settings or {})
        complete = complete_metadata(metadata, sha256_of(folder / WEIGHTS))
        made = _models(folder, state, complete, graphs)
        dropped = sorted(set(metadata) - set(complete))
        _finish(folder, complete, made, dropped)
        pack_zip(aside, aside / f"{source.name}.zip")
        exported = _record(folder, out, made, dropped)
        _move(aside, out)
    except OSError as error:
        raise IslesError("E-EXP-04", "export cannot be written", where=str(out), found=error.strerror or str(error),
                         fix="free space, or choose a folder that can be written; nothing was left behind",
                         ) from error  # fmt: skip
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return exported


def _require_complete(source: Path, weights: Path) -> None:
    missing = [name for name in NEEDED if not (source / name).is_file()]
    if not weights.is_file() and (missing or weights != source / WEIGHTS or not _fixed_rule(source)):
        missing.append(str(weights))
    if missing:
        raise IslesError("E-EXP-01", "bundle is not complete", where=str(source),
                         found=f"missing: {', '.join(missing)}",
                         fix="add these files; weights may come from --weights FILE")  # fmt: skip


def _fixed_rule(source: Path) -> bool:
    """Return whether the network of a bundle has nothing to load."""
    refuse(judge_bundle(source))
    return not build_network(source / "inference.json").state_dict()


def _read_metadata(source: Path) -> dict:
    path = source / METADATA
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IslesError("E-EXP-11", "metadata is not JSON", where=str(path), found=str(error),
                         fix="correct the file at this place") from error  # fmt: skip
    return check_metadata(content, str(path))


def _require_room(source: Path, out: Path, force: bool) -> None:
    target = out / source.name
    if out.resolve().is_relative_to(source) or target.resolve() == source:
        raise IslesError("E-EXP-03", "export would go into the bundle itself", where=str(out), found=f"bundle {source}",
                         fix="choose a folder outside the bundle")  # fmt: skip
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not force:
        raise IslesError("E-EXP-02", "output folder is in use", where=str(out), found="it exists and is not empty",
                         fix="name a new folder, or pass --force to replace an earlier export of this bundle there",
                         )  # fmt: skip
    if target.exists() and not (target / CHECKSUMS).is_file():
        raise IslesError("E-EXP-02", "output folder is in use", where=str(target),
                         found=f"not an export: it has no {CHECKSUMS}", fix="name a new folder")  # fmt: skip


def _models(folder: Path, state: Mapping, metadata: dict, graphs: bool) -> list[Graph]:
    config = folder / "configs/inference.json"
    network = load_network(config, state)
    if not graphs:
        return []
    inference = json.loads(config.read_text(encoding="utf-8"))
    return write_graphs(network, folder / "models", metadata=metadata, inference=inference)


def _finish(folder: Path, metadata: dict, made: list[Graph], dropped: list[str]) -> None:
    """Write what depends on the finished models: metadata, the card's notice, and the checksums of all files."""
    if made:
        metadata["graphs"] = {
            f"models/{g.path.name}": {"sha256": sha256_of(g.path), "largest_logit_difference": g.difference}
            for g in made
        }
    write_json(folder / "configs" / METADATA, metadata)
    if dropped:
        card = folder / "docs" / CARD
        card.write_text(_NOTICE.format(metadata["weights_sha256"]) + card.read_text(encoding="utf-8"), encoding="utf-8")
    sums = [f"{checksum}  {name}\n" for name, checksum in _checksums(folder).items()]
    (folder / CHECKSUMS).write_text("".join(sums), encoding="utf-8")


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {name: sha256_of(folder / name) for name in files if name != CHECKSUMS}


def _record(folder: Path, out: Path, made: list[Graph], dropped: list[str]) -> Exported:
    archive = folder.with_name(f"{folder.name}.zip")
    return Exported(
        folder=out / folder.name,
        archive=out / archive.name,
        archive_sha256=sha256_of(archive),
        checksums=_checksums(folder),
        differences={f"models/{g.path.name}": g.difference for g in made},
        dropped=dropped,
    )


def _move(aside: Path, out: Path) -> None:
    """Put the whole export in place with renames; what it replaces goes only once the new files are there."""
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    if not out.exists():
        os.replace(aside, out)
        return
    for new in sorted(aside.iterdir()):
        target = out / new.name
        old = out / f"{PART}{uuid4().hex[:8]}-{new.name}"
        if target.is_dir():
            target.rename(old)
        os.replace(new, target)
        shutil.rmtree(old, ignore_errors=True)
