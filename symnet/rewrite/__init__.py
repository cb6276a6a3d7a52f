"""Rewriting: rules as data, an engine that applies them, one list of passes."""
