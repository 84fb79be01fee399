"""The aiohttp side of the ingress: bounds on size and time, errors as problem documents (RFC 9457),
one count per request. No handler is ever cancelled: what was begun is finished.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from dispatcher.crashpoints import point
from dispatcher.errors import PipelineError, Trouble
from dispatcher.letters import traceback_of
from dispatcher.platform import Malformed, NotDone, Request
from dispatcher.ports import Observer
from producers.ingress.door import Answer, Route
from producers.ingress.errors import TooLarge, TooSlow, refusal

BODY_SECONDS = 10.0
ANSWER_SECONDS = 4.0
DRAIN_SECONDS = 10.0
BACKLOG = 1024
COME_AGAIN = {"Retry-After": "2"}
NOT_NOW = "we cannot keep it at the moment; send it again"

_PROBLEM = "application/problem+json"
_SERVER = "system2"


class Ingress:
    """Platforms wait 3 to 5 s for an answer: after `answer_seconds` they are asked to come again,
    while what they sent is still being written down. `sort` says whose fault an error is.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        observer: Observer,
        sort: Callable[[BaseException], Trouble],
        host: str = "127.0.0.1",
        port: int = 0,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._routes = routes
        self._observer = observer
        self._sort = sort
        self._host = host
        self._answer_seconds = answer_seconds
        self._answering: set[asyncio.Future[Answer]] = set()
        self.port = port

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until told to stop, then finish what is in hand."""
        async with self.serving():
            await stopping.wait()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listening inside the block, on `port`."""
        # Bodies stay raw: signatures cover what was sent, and nothing is unpacked beyond a bound.
        # What is not even HTTP gets its 400 and is no news: the logger belongs to nobody.
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            auto_decompress=False,
            logger=logging.Logger("ingress", logging.CRITICAL),
            shutdown_timeout=DRAIN_SECONDS,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self.port, backlog=BACKLOG).start()
            self.port = int(runner.addresses[0][1])
            self._observer.note("listening", host=self._host, port=self.port)
            yield
        finally:
            await runner.cleanup()
            if self._answering:
                await asyncio.wait(self._answering, timeout=DRAIN_SECONDS)

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._counted])
        for route in self._routes:
            app.router.add_post(route.template, self._handler(route))
        app.on_response_prepare.append(_name_no_software)
        return app

    def _handler(self, route: Route) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            names = request.match_info
            try:
                arrived = await _arrived(request, route.longest_body)
                answer = await self._in_time(route.answer(names, arrived))
            except PipelineError as error:
                return self._refused(route, names, error)
            point("ingress.acknowledge.before")
            return _Acknowledgement(body=answer.body, headers={"Content-Type": answer.content_type})

        return handle

    async def _in_time(self, answering: Awaitable[Answer]) -> Answer:
        task = asyncio.ensure_future(answering)
        self._answering.add(task)
        task.add_done_callback(self._answered)
        done, _ = await asyncio.wait({task}, timeout=self._answer_seconds)
        if not done:
            raise TimeoutError
        return task.result()

    def _answered(self, task: asyncio.Future[Answer]) -> None:
        self._answering.discard(task)
        if not task.cancelled():
            # Read, so that an error that came after the answer is not reported as forgotten.
            task.exception()

    def _refused(
        self, route: Route, names: Mapping[str, str], error: PipelineError
    ) -> web.Response:
        status, reason = refusal(error)
        source = route.source(names)
        if reason is not None:
            self._observer.count("ingress_rejected_total", source=source, reason=reason)
        self._observer.note("refused", source=source, status=status, error=str(error))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            ours = not isinstance(error, NotDone)
            return problem(status, NOT_NOW if ours else str(error), COME_AGAIN)
        return problem(status, str(error), {})

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        response = await self._guarded(request, handler, route)
        code = str(response.status)
        self._observer.count("ingress_requests_total", route=route, code=code)
        return response

    async def _guarded(
        self, request: web.Request, handler: Handler, route: str
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            allowed = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            return problem(error.status, f"nothing here takes {request.method}", allowed)
        except Exception as error:
            if isinstance(error, TimeoutError) or self._sort(error) is not Trouble.BUG:
                self._observer.note("asked to come again", route=route, why=type(error).__name__)
                return problem(503, NOT_NOW, COME_AGAIN)
            self._observer.note("bug", level="error", route=route, error=traceback_of(error))
            return problem(500, "we failed at it; send it again", {})


class _Acknowledgement(web.Response):
    """The answer after which the sender forgets what it sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        point("ingress.acknowledge.after")


def problem(status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    """A problem document."""
    document = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return web.Response(
        status=status,
        body=json.dumps(document).encode(),
        headers={**headers, "Content-Type": _PROBLEM},
    )


async def _arrived(request: web.Request, longest: int) -> Request:
    """The request as routes need it. Raises TooLarge, TooSlow or Malformed."""
    if (request.content_length or 0) > longest:
        raise TooLarge(longest)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _body(request, longest)
    except TimeoutError:
        raise TooSlow(f"the body took longer than {BODY_SECONDS:g} s") from None
    except web.RequestPayloadError:
        raise Malformed("the body broke off") from None
    query = dict(request.query)
    if len(query) != len(request.query):
        raise Malformed("a parameter of the query comes twice")
    headers = {name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers}
    return Request(request.path, query, headers, body)


async def _body(request: web.Request, longest: int) -> bytes:
    read = bytearray()
    async for chunk in request.content.iter_any():
        read += chunk
        if len(read) > longest:
            raise TooLarge(longest)
    return bytes(read)


async def _name_no_software(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = _SERVER
