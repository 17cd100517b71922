"""Whether a model is better: exact retrieval, metrics, retrieval modes, comparison and verdict, report.

What belongs here: everything computed from rankings and relevance. What does not: training, and swapping the alias.
"""
