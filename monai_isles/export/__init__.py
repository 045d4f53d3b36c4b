"""Bundles in the bundle specification's layout, with graphs that other runtimes read."""

from monai_isles.export.bundle import Exported, export_bundle
from monai_isles.export.challenge import Submission, export_challenge
from monai_isles.export.graph import Graph, load_network, write_graphs
from monai_isles.export.metadata import check_metadata, complete_metadata
from monai_isles.export.nnunet import NnunetDataset, export_nnunet

__all__ = [
    "Exported", "Graph", "NnunetDataset", "Submission", "check_metadata", "complete_metadata", "export_bundle",
    "export_challenge", "export_nnunet", "load_network", "write_graphs",
]  # fmt: skip
