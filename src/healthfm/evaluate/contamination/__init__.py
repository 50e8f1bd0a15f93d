"""Has the model seen the data? By content (texts found in a corpus) and by behaviour (likelihoods); lineage is on the cards."""

from healthfm.evaluate.contamination.behaviour import Behaviour, behaviour
from healthfm.evaluate.contamination.biology import contamination
from healthfm.evaluate.contamination.content import Finding
from healthfm.evaluate.contamination.store import store

__all__ = ["Behaviour", "Finding", "behaviour", "contamination", "store"]
