"""Training pairs and evaluation sets that can be trusted: structural pairs, clusters, splits, filters, leakage.

What does not belong here: asking the LLM (`questions`), training (`training`).
"""
