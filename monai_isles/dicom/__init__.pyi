from .find import SeriesInfo
from .read import DicomSeries, find_series, read_series

__all__ = ["DicomSeries", "SeriesInfo", "find_series", "read_series"]
