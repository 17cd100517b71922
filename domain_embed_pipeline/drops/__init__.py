"""Corpus drops: noticing new, changed and deleted documents, serving them with the live model, deciding to retrain.

What belongs here: what happens between two trainings. What does not: reading and cutting documents (`corpus`), changing
a collection (`serving`), training.
"""
