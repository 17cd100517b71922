"""Documents to chunks: readers, chunking, quarantine, the snapshot of what the corpus is now, what changed since.

What does not belong here: embedding, question generation, splits.
"""
