"""table: any product as a table, of one run or of all runs of a trial."""

from xfel_apps.table.formats import to_csv, to_json, to_text
from xfel_apps.table.read import PRODUCTS, read_table

__all__ = ["PRODUCTS", "read_table", "to_csv", "to_json", "to_text"]
