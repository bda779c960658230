"""The models that the service offers: those of a directory and those that come with the package."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pycrcnn import datasets, models
from pycrcnn.errors import FormatError, PyCrCNNError
from pycrcnn.models import Model
from pycrcnn.server.plane.catalogue import ModelEntry, ProgramEntry, model_entry
from pycrcnn.server.plane.compiling import Offer, compiled, offers
from pycrcnn.server.plane.published import read_published
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.shelf import Shelf, Shelved

__all__ = ["Registry"]

_LOGGER = logging.getLogger("pycrcnn.server")
State = Literal["ready", "compiling", "failed"]


@dataclass
class _Served:
    """One model, its programs compiled or still to be."""

    entry: ModelEntry
    network: Model | None = None
    pending: deque[Offer] = field(default_factory=deque)
    state: State = "ready"


class Registry:
    """Models and programs by name and identity.

    Parameters
    ----------
    directory : Path, optional
        Of ``NAME/model.json`` with programs, as ``pycrcnn publish`` writes them; of ``*.program`` files; and of
        ``*.safetensors`` files, which are compiled as the package's own models are.
    shipped : bool or str
        Whether the package's own models are offered; a name: that one alone.
    cache : Path
        Where compiled programs are kept.
    flooding : float
        Of the noise of replies, see `pycrcnn.Program.rerandomize`.
    most_bytes : int
        Memory of programs that are ready for use.
    memory : int
        Bytes that an evaluation may take: programs that need more are not offered.

    Attributes
    ----------
    shelf : Shelf
        All programs, by identity.
    """

    def __init__(
        self,
        directory: Path | None,
        shipped: bool | str,
        cache: Path,
        *,
        flooding: float = 1.0,
        most_bytes: int = 10**9,
        memory: int = 10**12,
    ) -> None:
        self._cache, self._flooding, self._memory = cache, flooding, memory
        self._served: dict[str, _Served] = {}
        self.shelf = Shelf(most_bytes)
        self._changed = threading.Condition()
        self._wanted: deque[str] = deque()
        self._stopped = False
        self._thread = threading.Thread(target=self._compile_all, name="compile", daemon=True)
        if shipped:
            for name in models.names():
                if shipped == name or (shipped is True and not name.endswith("-plain")):
                    self._await(models.load(name))
        if directory is not None:
            self._read(directory)

    def _read(self, directory: Path) -> None:
        if not directory.is_dir():
            raise FormatError(f"models: {directory} is no directory")
        for path in sorted(directory.iterdir()):
            if path.suffix == ".safetensors":
                self._await(models.read(path))
            elif path.suffix == ".program" or (path / "model.json").is_file():
                entry, programs = read_published(path, self._flooding)
                refused = {_whole(shelved.entry) for shelved in programs if not self._fits(entry.name, shelved)}
                fitting = [shelved for shelved in programs if _whole(shelved.entry) not in refused]
                offered = tuple(shelved.entry for shelved in fitting)
                state: State = "ready" if offered else "failed"
                self._served[entry.name] = _Served(dataclasses.replace(entry, programs=offered), state=state)
                for shelved in fitting:
                    self.shelf.put(shelved)

    def _fits(self, name: str, shelved: Shelved) -> bool:
        """Whether a program's evaluation has room in memory; a line in the log where it has not."""
        if shelved.memory <= self._memory:
            return True
        what = f"the {shelved.entry.layout} program up to layer {shelved.entry.last_layer}"
        _LOGGER.warning(
            "%s: %s is not offered: it takes %d MB of memory, and %d MB may be taken (memory_bytes)",
            *(name, what, shelved.memory // 10**6, self._memory // 10**6),
        )
        return False

    def _await(self, model: Model) -> None:
        try:
            classes: tuple[str, ...] = datasets.class_names(model.dataset)
        except ValueError:
            classes = ()
        self._served[model.name] = _Served(model_entry(model, classes, ()), model, deque(offers(model)), "compiling")

    # Compiling in the background

    def start(self) -> None:
        """Begin to compile what is not compiled yet."""
        self._thread.start()

    def stop(self) -> None:
        """Compile nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _next(self) -> tuple[_Served, Model, Offer] | None:
        """What is asked for first, then the first offer of each model, and so on."""
        with self._changed:
            wanted = [self._served[name] for name in self._wanted if self._served[name].pending]
            unfinished = [served for served in self._served.values() if served.pending]
            if self._stopped or not unfinished:
                return None
            served = wanted[0] if wanted else max(unfinished, key=lambda one: len(one.pending))
            if served.network is None:
                return None  # never: only models with layers are compiled here
            return served, served.network, served.pending.popleft()

    def _compile_all(self) -> None:
        while (found := self._next()) is not None:
            served, model, offer = found
            try:
                shelved = compiled(model, offer, self._cache, self._flooding, threads=1)
                if shelved is not None and not self._fits(model.name, shelved):
                    shelved = None
            except (PyCrCNNError, OSError):
                _LOGGER.exception("compiling %s failed", model.name)
                shelved = None
            with self._changed:
                if shelved is not None:
                    self.shelf.put(shelved)
                    programs = (*served.entry.programs, shelved.entry)
                    served.entry = dataclasses.replace(served.entry, programs=programs)
                if not served.pending:
                    served.state = "ready" if served.entry.programs else "failed"
                self._changed.notify_all()

    # What routes ask for

    def states(self) -> dict[str, State]:
        """Each model's state."""
        return {name: served.state for name, served in self._served.items()}

    def entries(self) -> Iterator[ModelEntry]:
        """All models, their programs as far as they are compiled."""
        return (served.entry for served in list(self._served.values()))

    def model(self, name: str, patience: float = 0.0) -> ModelEntry:
        """One model with all of its programs.

        Parameters
        ----------
        name : str
        patience : float
            Seconds to wait while its programs are being compiled.

        Raises
        ------
        Refusal
            ``not-found``; ``unavailable`` while it is being compiled.
        """
        served = self._find(name)
        with self._changed:
            if served.state == "compiling":
                if name not in self._wanted:
                    self._wanted.append(name)
                self._changed.wait_for(lambda: served.state != "compiling" or self._stopped, patience)
            if served.state == "compiling":
                raise Refusal("unavailable", f"model {name} is being compiled; come back in a few seconds", 2.0)
            return served.entry

    def _find(self, name: str) -> _Served:
        served = self._served.get(name)
        if served is None:
            raise Refusal("not-found", "there is no model of this name; GET /v1/models lists them")
        return served

    def network(self, name: str) -> Model:
        """The layers of a model, for PyCrCNN's protocol.

        Raises
        ------
        Refusal
            ``not-found``: there is none of this name, or it was published compiled only.
        """
        network = self._find(name).network
        if network is None:
            raise Refusal("not-found", "this model is offered as compiled programs only")
        return network

    def offered(self, model: str, identity: str | None, layers: tuple[int, int] | None) -> ProgramEntry:
        """The program of a model that a request means: by identity, or by layers where that is unambiguous.

        Raises
        ------
        Refusal
            ``not-found`` for an unknown model; ``unprocessable`` for a program that is not the model's, or none or
            several for the layers.
        """
        entry = self._find(model).entry
        if identity is not None:
            matching = [program for program in entry.programs if program.id == identity]
        elif layers is not None:
            # A part of an interactive program computes fewer layers, and is asked for by its identity.
            matching = [
                program
                for program in entry.programs
                if (program.first_layer, program.last_layer) == layers and program.stages == 1
            ]
        else:
            raise Refusal("unprocessable", "say which program: program=ID, or layers=FIRST,LAST")
        if not matching:
            raise Refusal("unprocessable", f"model {model} has no such program; GET /v1/models/{model} lists them")
        if len(matching) > 1:
            raise Refusal("unprocessable", f"{len(matching)} programs compute these layers; say which: program=ID")
        return matching[0]


def _whole(entry: ProgramEntry) -> tuple[str, int, int]:
    """What an interactive program's parts have in common: one of them alone is of no use."""
    return entry.layout, entry.last_layer, entry.stages
