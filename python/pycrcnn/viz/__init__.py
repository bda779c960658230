"""Pictures of programs and of what they answer, with matplotlib: ``pip install 'pycrcnn[plot]'``.

====================== =================================================================================================
:func:`overview`       a program on one page; :meth:`pycrcnn.Program.plot` draws it
:func:`plan`           the steps of a program over what is left of the modulus, with their rotations
:func:`seconds`        where time goes
:func:`traffic`        what travels between client and server
:func:`noise_budget`   bits that are left after each step (BFV)
:func:`errors`         errors layer by layer, predicted and measured
:func:`predictions`    images with the scores of their classes
====================== =================================================================================================

A function draws into the `Axes` that it is given, or into a figure of its own, and returns the figure. A figure of its
own belongs to nobody else: pyplot does not know of it, so that nothing has to be closed; Jupyter shows the one that a
cell ends with. `import pycrcnn` does not import this module.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401 - all modules below need it
except ImportError as error:
    from pycrcnn.errors import MissingPackageError

    raise MissingPackageError("pycrcnn.viz needs matplotlib: pip install 'pycrcnn[plot]'") from error

from pycrcnn.viz.costs import seconds, traffic
from pycrcnn.viz.images import predictions
from pycrcnn.viz.noise import errors, noise_budget
from pycrcnn.viz.overview import overview
from pycrcnn.viz.plan import plan

__all__ = ["errors", "noise_budget", "overview", "plan", "predictions", "seconds", "traffic"]
