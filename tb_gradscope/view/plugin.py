"""The TensorBoard plugin: routes that parse the question, call `answers`, and respond."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from tensorboard.util import tb_logging
from werkzeug import wrappers

from tb_gradscope.diagnose.thresholds import ThresholdError
from tb_gradscope.format.history import RunHistory
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.tags import EVENTS_PLUGIN_NAME, PLUGIN_NAME
from tb_gradscope.view import answers, assets, labels, numbers, schema
from tb_gradscope.view.cache import Cache
from tb_gradscope.view.findings import findings, thresholds_of
from tb_gradscope.view.history import Histories
from tb_gradscope.view.labels import Labelled
from tb_gradscope.view.provider import Listing, Source, in_background, token

_logger = tb_logging.get_logger()

Request = wrappers.Request
Response = wrappers.Response


class MethodError(errors.PublicError):  # type: ignore[misc]
    """The route only answers GET."""

    http_code = 405


class UnreadableError(errors.PublicError):  # type: ignore[misc]
    """TensorBoard's data cannot be had at the moment."""

    http_code = 503


class GradscopePlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """Serves the runs of one TensorBoard, and the page that shows them."""

    plugin_name = PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        """Makes the plugin; reads nothing yet."""
        self._histories = Histories(context.data_provider)
        self._found = Cache(100)

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        """Returns the routes."""
        routes = {
            "index": self._index,
            "run": self._run,
            "findings": self._findings,
            "matrix": self._matrix,
            "series": self._series,
            "loss": self._loss,
            "reached": self._reached,
            "clip": self._clip,
            "optimizer": self._optimizer,
            "cosines": self._cosines,
            "cosine": self._cosine,
        }
        apps = {f"/{path}": _app(handler) for path, handler in routes.items()}
        return {**apps, "/static/index.js": _app(_static), "/static/*": _app(_static)}

    def is_active(self) -> bool:
        """Returns False: TensorBoard itself sees whether there is data of ours."""
        return False

    def data_plugin_names(self) -> tuple[str, ...]:
        """Returns under which names our data is stored."""
        return (PLUGIN_NAME, EVENTS_PLUGIN_NAME)

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Returns where the page is."""
        return base_plugin.FrontendMetadata(es_module_path="/static/index.js", tab_name="GradScope")

    def _index(self, request: Request) -> Response:
        source, listing = self._listing(request)
        current = token(source.experiment, listing)
        if request.args.get("since") == current:
            return _json(request, schema.Index(current, True, ()))
        runs = [
            in_background(self._histories.summary, source, run, tags)
            for run, tags in listing.items()
        ]
        return _json(request, schema.Index(current, False, tuple(run.result() for run in runs)))

    def _run(self, request: Request) -> Response:
        run, current = self._history(request, recent=False)
        return _json(request, answers.run(run, current))

    def _findings(self, request: Request) -> Response:
        try:
            thresholds = thresholds_of(request.args)
        except ThresholdError as error:
            raise errors.InvalidArgumentError(str(error)) from error
        run, current = self._history(request, recent=False)
        found = self._found.get((run.name, thresholds), current)
        if found is None:
            found = findings(run, thresholds)
            self._found.put((run.name, thresholds), current, found, 1)
        return _json(request, found)

    def _matrix(self, request: Request) -> Response:
        step = _whole(request, "step")
        run, _ = self._history(request)
        return _numbers(request, numbers.matrix(run, step))

    def _series(self, request: Request) -> Response:
        run, _ = self._history(request)
        names = {variable.name: i for i, variable in enumerate(run.variables)}
        return _numbers(request, numbers.series(run, _named(request, run, "variable", names)))

    def _loss(self, request: Request) -> Response:
        run, _ = self._history(request)
        loss = _named(request, run, "loss", _by_id(run.losses))
        return _numbers(request, numbers.whole_norms(loss))

    def _reached(self, request: Request) -> Response:
        run, _ = self._history(request)
        one = _named(request, run, "optimizer", _by_id(run.optimizers))
        return _numbers(request, numbers.whole_norms(one))

    def _clip(self, request: Request) -> Response:
        run, _ = self._history(request)
        return _numbers(request, numbers.clip(_named(request, run, "site", _by_id(run.clips))))

    def _optimizer(self, request: Request) -> Response:
        run, _ = self._history(request)
        one = _named(request, run, "optimizer", _by_id(run.optimizers))
        return _numbers(request, numbers.optimizer(one))

    def _cosines(self, request: Request) -> Response:
        run, _ = self._history(request)
        return _numbers(request, numbers.totals(run))

    def _cosine(self, request: Request) -> Response:
        run, _ = self._history(request)
        pair = (_text(request, "one"), _text(request, "other"))
        for known, history in zip(answers.pair_ids(run), run.cosines, strict=True):
            if known == pair:
                return _numbers(request, history.cosines)
        raise errors.NotFoundError(
            f"The run {run.name!r} has no cosines of {pair[0]!r} and {pair[1]!r}."
        )

    def _listing(self, request: Request, recent: bool = False) -> tuple[Source, Listing]:
        environment = request.environ
        source = self._histories.source(
            plugin_util.context(environment), plugin_util.experiment_id(environment)
        )
        audience = (request.headers.get("Authorization"), request.headers.get("Cookie"))
        return source, self._histories.listing(source, audience, recent)

    def _history(self, request: Request, recent: bool = True) -> tuple[RunHistory, str]:
        name = _text(request, "run")
        source, listing = self._listing(request, recent)
        if name not in listing and recent:
            source, listing = self._listing(request)
        if name not in listing:
            raise errors.NotFoundError(f"There is no run {name!r} with gradients recorded.")
        tags = listing[name]
        return self._histories.run(source, name, tags), token(source.experiment, tags)


def _app(handler: Callable[[Request], Response]) -> Callable[..., Any]:
    @wrappers.Request.application
    @functools.wraps(handler)
    def app(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise MethodError(f"This address answers GET, not {request.method}.")
        try:
            return handler(request)
        except errors.PublicError:
            raise
        except Exception as error:
            _logger.exception("GradScope could not answer %s", request.path)
            raise UnreadableError(
                f"TensorBoard's data could not be read ({type(error).__name__}: {error}); "
                "TensorBoard's own log says more."
            ) from error

    return app


def _static(request: Request) -> Response:
    asset = assets.find(request.path.partition("/static/")[2])
    if asset is None:
        raise errors.NotFoundError("GradScope's page has no such file.")
    return http_util.Respond(  # type: ignore[no-any-return]
        request, asset.content, asset.media_type, expires=asset.seconds
    )


def _text(request: Request, name: str) -> str:
    value = request.args.get(name)
    if value is None:
        raise errors.InvalidArgumentError(f"The parameter {name!r} is missing.")
    return value


def _whole(request: Request, name: str) -> int:
    value = _text(request, name)
    try:
        number = int(value)
    except ValueError:
        number = 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise errors.InvalidArgumentError(
            f"The parameter {name!r} is {value!r}, expected a whole number of 64 bits."
        )
    return number


def _named(request: Request, run: RunHistory, parameter: str, names: Mapping[str, Any]) -> Any:
    name = _text(request, parameter)
    if name not in names:
        raise errors.NotFoundError(f"The run {run.name!r} has no {parameter} {name!r}.")
    return names[name]


def _by_id(things: Sequence[Labelled]) -> dict[str, Any]:
    return dict(zip(labels.ids(things), things, strict=True))


def _json(request: Request, answer: Any) -> Response:
    # Not through TensorBoard's own writer: that would turn a NaN into a string unseen.
    text = json.dumps(dataclasses.asdict(answer), allow_nan=False)
    return http_util.Respond(request, text, "application/json")  # type: ignore[no-any-return]


def _numbers(request: Request, answer: Floats) -> Response:
    content = np.ascontiguousarray(answer, "<f4").tobytes()
    return http_util.Respond(  # type: ignore[no-any-return]
        request, content, "application/octet-stream"
    )
