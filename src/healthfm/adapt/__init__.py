"""Adapting a model to a task with little labelled data."""
