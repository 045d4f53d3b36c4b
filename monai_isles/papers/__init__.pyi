from .published import published_rows, published_tables
from .study import paper_rows

__all__ = ["paper_rows", "published_rows", "published_tables"]
