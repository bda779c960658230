"""The client of a service: arrays go in and come out, and the service sees ciphertexts.

========================= ==============================================================================================
:class:`Client`           predictions and features from a URL
:class:`Description`      what a service says of a model: shapes, classes, the programs on offer
:class:`Offer`            one of these programs
:class:`Transfer`         what travelled, and what took how long
========================= ==============================================================================================
"""

from pycrcnn.service.client import Client
from pycrcnn.service.description import Description, Offer, Pixels
from pycrcnn.service.transfer import Transfer

__all__ = ["Client", "Description", "Offer", "Pixels", "Transfer"]
