from .published import published_rows, published_tables
from .study import paper_rows
from .tables import paper_csv, paper_table

__all__ = ["paper_csv", "paper_rows", "paper_table", "published_rows", "published_tables"]
