"""Model versions: folders of safetensors with a manifest, their parents, and what they were made from.

What belongs here: saving, finding and walking versions. What does not: training them or serving them.
"""
