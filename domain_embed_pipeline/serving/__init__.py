"""Versioned Qdrant collections, verification, the alias, rollback, the retriever and the service on it.

What does not belong here: deciding whether a model is better (`evaluation`).
"""
