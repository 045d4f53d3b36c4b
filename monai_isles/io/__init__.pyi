from .publish import publish_json
from .read import Image, read_image
from .reader import LoadVerifiedd, VerifiedReader
from .weights import load_state

__all__ = [
    "Image",
    "LoadVerifiedd",
    "VerifiedReader",
    "load_state",
    "publish_json",
    "read_image",
]
