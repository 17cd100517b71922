"""Recipes side by side: the same data, seed and machine, one table of quality, time, memory and money.

What belongs here: the public tutorial's recipe, our pipeline as a recipe, running each in a process of its own, and
judging all of them by one rule. What does not: anything that the pipeline itself needs; no other room imports this one.
"""
