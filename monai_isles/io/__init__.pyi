from .archives import Limits, pack_zip, unpack_zip
from .checksums import sha256_of
from .findings import Finding, refuse
from .grid import Displacement, require_same_affines, require_same_grid, same_grid
from .locks import in_turn
from .publish import planned_image, publish_image, publish_json, publish_text, publish_together
from .read import Header, Image, inspect_image, read_header, read_image
from .reader import LoadVerifiedd, VerifiedReader
from .runs import RunFolder
from .weights import load_state, publish_state

__all__ = [
    "Displacement",
    "Finding",
    "Header",
    "Image",
    "Limits",
    "LoadVerifiedd",
    "RunFolder",
    "VerifiedReader",
    "in_turn",
    "inspect_image",
    "load_state",
    "pack_zip",
    "planned_image",
    "publish_image",
    "publish_json",
    "publish_state",
    "publish_text",
    "publish_together",
    "read_header",
    "read_image",
    "refuse",
    "require_same_affines",
    "require_same_grid",
    "same_grid",
    "sha256_of",
    "unpack_zip",
]
