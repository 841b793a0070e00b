"""Inputs of which the result is known, for what reads, checks and draws. Nothing here is measured."""
