from .bundle import Exported, check_metadata, complete_metadata, export_bundle
from .challenge import Submission, challenge_names, export_challenge
from .graph import Graph, load_network, write_graphs
from .nnunet import NnunetDataset, export_nnunet

__all__ = [
    "Exported",
    "Graph",
    "NnunetDataset",
    "Submission",
    "challenge_names",
    "check_metadata",
    "complete_metadata",
    "export_bundle",
    "export_challenge",
    "export_nnunet",
    "load_network",
    "write_graphs",
]
