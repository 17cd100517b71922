"""Versioned Qdrant collections, verification, the alias, rollback, the retriever.

What does not belong here: deciding whether a model is better (`evaluation`).
"""
