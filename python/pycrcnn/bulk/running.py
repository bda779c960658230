"""Many questions: a bounded number in flight, each failure by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from pycrcnn.bulk.evaluate import Done, Evaluator
from pycrcnn.bulk.layout import REPORT, Question, outstanding, questions_in
from pycrcnn.bulk.prefix import Prefix
from pycrcnn.bulk.report import Failure, Report
from pycrcnn.errors import CancelledError, PyCrCNNError
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Run"]

_LOGGER = logging.getLogger("pycrcnn.bulk")
#: Where something is away for the moment, a question is tried this often, with pauses of 1, 2, ... times this between.
_ATTEMPTS, _PAUSE = 3, 0.5
#: After as many questions in a row that found something away, it is away for good.
_AWAY = 3


class Run:
    """Answers what is asked under one prefix under another.

    Parameters
    ----------
    asked, answers : Prefix
    evaluator : Evaluator
        Which reads and writes there.
    """

    def __init__(self, asked: Prefix, answers: Prefix, evaluator: Evaluator) -> None:
        self._asked, self._answers, self._evaluator = asked, answers, evaluator
        self._stop = threading.Event()
        self._in_a_row = 0

    def __call__(self, report: Report, begin: Callable[[int], Callable[[float], None]]) -> None:
        """Answer all that has no answer yet, and note in a report what came of it.

        Parameters
        ----------
        report : Report
            Is filled in, and written under the prefix of the answers.
        begin : callable
            Is told how many questions are to be answered; what it gives is told how many of them have been tried.

        Raises
        ------
        Refusal
            ``conflict``: another run writes there. ``unavailable``: the store is away at the beginning already.
        """
        start = time.perf_counter()
        with self._answers.held():
            names = self._asked.listed()
            questions = questions_in(names)
            to_do = outstanding(questions, names, self._answers.listed())
            report.files, report.done_before = len(questions), len(questions) - len(to_do)
            try:
                self._answer_all(to_do, report, begin(len(to_do)))
            finally:
                report.seconds = time.perf_counter() - start
                try:
                    self._answers.put(REPORT, report.to_json())
                except Refusal as error:
                    _LOGGER.warning("the report is not written: %s", error)

    def _answer_all(self, questions: Iterable[Question], report: Report, tell: Callable[[float], None]) -> None:
        waiting = iter(questions)
        flying: dict[Future[Done], Question] = {}
        with ThreadPoolExecutor(self._evaluator.lanes, "bulk") as pool:
            try:
                while report.stopped is None:
                    while len(flying) < self._evaluator.lanes and (question := next(waiting, None)) is not None:
                        flying[pool.submit(self._answer, question)] = question
                    if not flying:
                        return
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        self._note(flying.pop(future), future, report)
                        tell(report.answered + len(report.failures))
            finally:
                # After an interruption, or where something is away for good: what is in the air is given up.
                self._stop.set()
                self._evaluator.stop()

    def _answer(self, question: Question) -> Done:
        for attempt in range(_ATTEMPTS):
            try:
                return self._evaluator.answer(question)
            except PyCrCNNError as error:
                if error.code != "unavailable" or attempt + 1 == _ATTEMPTS:
                    raise
                _LOGGER.warning("%s is tried again: %s", question.path, error)
            if self._stop.wait(_PAUSE * (attempt + 1)):
                break
        raise CancelledError("the run was stopped")

    def _note(self, question: Question, future: Future[Done], report: Report) -> None:
        try:
            done = future.result()
        except PyCrCNNError as error:
            failure = Failure(question.path, error.code, str(error))
        except Exception:
            _LOGGER.exception("%s failed", question.path)
            failure = Failure(question.path, "internal", "it failed inside the package; the log says why")
        else:
            self._in_a_row = 0
            report.answered += 1
            report.images += done.images
            report.bytes_in += done.bytes_in
            report.bytes_out += done.bytes_out
            return
        report.failures.append(failure)
        self._in_a_row = self._in_a_row + 1 if failure.code == "unavailable" else 0
        if failure.code == "insufficient-storage" or self._in_a_row == _AWAY:
            report.stopped = failure
