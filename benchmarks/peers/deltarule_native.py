"""deltarule with its compiled companion, ``deltarule-native``: nothing else differs."""

from peers.deltarule_engine import Deltarule


class DeltaruleNative(Deltarule):
    companion = "1"
