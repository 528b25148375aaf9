"""Warnings before any run: what is asked for and cannot work, or not as it may be meant.

A rule predicts in words, for people. Nothing here is seen by what judges a run.
"""
