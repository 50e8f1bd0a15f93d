"""Tasks, scoring, metrics, statistics, contamination, and the runner that puts them on one road.

As an attribute of ``healthfm`` the name means the main verb, ``runner.evaluate`` (see ``healthfm.__init__``).
"""
