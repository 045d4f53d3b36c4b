from .bundle import Exported, export_bundle
from .challenge import Submission, export_challenge
from .graph import Graph, load_network, write_graphs
from .metadata import check_metadata, complete_metadata
from .nnunet import NnunetDataset, export_nnunet

__all__ = [
    "Exported",
    "Graph",
    "NnunetDataset",
    "Submission",
    "check_metadata",
    "complete_metadata",
    "export_bundle",
    "export_challenge",
    "export_nnunet",
    "load_network",
    "write_graphs",
]
