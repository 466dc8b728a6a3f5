"""A collection as one file: everything it holds and what was done to it, to be carried to another installation.

The file is a zip of rows as JSON lines, of the originals by their SHA-256, and of vectors as they are stored, with a
manifest that has the size and the SHA-256 of each part (layout.py). What the rows are is read off the tables themselves
(tables.py), so that a new column is carried without being named here.
"""

from knowledge.archive.exporting import collection_export, collection_export_to
from knowledge.archive.importing import Imported, collection_import, import_plan

__all__ = ["Imported", "collection_export", "collection_export_to", "collection_import", "import_plan"]
