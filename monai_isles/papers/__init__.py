"""Reproduce publications: rows, published numbers, tables, figures and studies of the four papers."""
