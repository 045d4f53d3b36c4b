from .grid import require_same_grid
from .payload import sha256_of
from .publish import publish_image, publish_json, publish_text
from .read import Image, read_header, read_image
from .reader import LoadVerifiedd, VerifiedReader
from .runs import RunFolder
from .weights import load_state, publish_state

__all__ = [
    "Image",
    "LoadVerifiedd",
    "RunFolder",
    "VerifiedReader",
    "load_state",
    "publish_image",
    "publish_json",
    "publish_state",
    "publish_text",
    "read_header",
    "read_image",
    "require_same_grid",
    "sha256_of",
]
