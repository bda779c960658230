"""Compile a network for encrypted images, encrypt, run, decrypt.

============================== ========================================================================================
:func:`compile`                a trained network to a :class:`Program`: it chooses layout, parameters, levels and keys
:class:`Program`               what a server needs: the weights and public parameters, no key
:class:`ClientProgram`         what a client needs: parameters and where values lie, no weight
:class:`Keys`                  the client's keys: the secret one stays, :class:`EvaluationKeys` go to the server, a
                               :class:`PublicKey` goes to whoever may encrypt but not decrypt
:class:`EncryptedImages`,      what travels
:class:`Answer`
:class:`Explanation`           the plan of a program and what it costs
:func:`compile_interactive`    networks too deep for that: the client decrypts and encrypts again between their parts
============================== ========================================================================================

Examples
--------
>>> import numpy as np
>>> from pycrcnn import models
>>> model = models.load("fashion-5layer")
>>> images = np.random.default_rng(0).uniform(0, 1, (2, 1, 28, 28))
>>> program = compile(model, calibration=images)
>>> keys = program.keygen()
>>> answer = program.run(keys.encrypt(images), keys.evaluation)
>>> np.allclose(keys.decrypt(answer), program.predict(images), atol=program.explain().error)
True
"""

from pycrcnn.program.client import ClientProgram, Keys, PublicKey
from pycrcnn.program.compiling import compile  # noqa: A004 - the field's word for it
from pycrcnn.program.encrypted import Answer, EncryptedImages, EvaluationKeys
from pycrcnn.program.explanation import Explanation, Step
from pycrcnn.program.fractional import FractionalParameters
from pycrcnn.program.interactive import (
    InteractiveClient,
    InteractiveExplanation,
    InteractiveKeys,
    InteractiveProgram,
    compile_interactive,
)
from pycrcnn.program.program import Program

__all__ = [
    "Answer",
    "ClientProgram",
    "EncryptedImages",
    "EvaluationKeys",
    "Explanation",
    "FractionalParameters",
    "InteractiveClient",
    "InteractiveExplanation",
    "InteractiveKeys",
    "InteractiveProgram",
    "Keys",
    "Program",
    "PublicKey",
    "Step",
    "compile",
    "compile_interactive",
]
