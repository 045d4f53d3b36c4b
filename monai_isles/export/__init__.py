"""Bundles in the bundle specification's layout, with graphs that other runtimes read."""

from monai_isles.export.bundle import Exported, export_bundle
from monai_isles.export.graph import Graph, load_network, write_graphs
from monai_isles.export.metadata import check_metadata, complete_metadata

__all__ = [
    "Exported", "Graph", "check_metadata", "complete_metadata", "export_bundle", "load_network", "write_graphs",
]  # fmt: skip
