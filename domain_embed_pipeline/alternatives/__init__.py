"""What else one could serve, and what else one should look at: named models and endpoints, rerankers, guard sets.

What belongs here: from names and folders of the user to things that `evaluation` can measure, and the measuring of them
beside a run or without one. What does not: metrics, statistics and the advice (`evaluation`), training, the index.
"""
