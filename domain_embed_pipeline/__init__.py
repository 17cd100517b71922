"""Fine-tuned embedding models and the vector index that serves them, from a folder of domain documents.

Rooms (`corpus`, `questions`, `pairs`, `encoding`, `training`, `evaluation`, `serving`, `registry`) are a plain
library; `defs` and `definitions` are the Dagster shell around it. Nothing is re-exported here: import the module
that holds the thing.
"""

__version__ = "0.1.0"
