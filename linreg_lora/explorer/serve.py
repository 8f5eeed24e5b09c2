"""Serving the explorer on this machine."""

import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.sweeps.executors import LocalProcesses

if TYPE_CHECKING:
    from linreg_lora.explorer.own_data import OwnData

_ADDRESS = "127.0.0.1"
_LARGEST_PORT = 65535
#: Who logs that a message could not be sent.
_LOGGERS = ("bokeh.server.views.ws", "tornado.application", "asyncio")


class _ReadersLeave(logging.Filter):
    """Drops what is logged where a page was closed while it was still being drawn: that is no fault of anybody."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        closed = type(error).__name__ in ("WebSocketClosedError", "StreamClosedError")
        return not (closed or record.getMessage().startswith("Failed sending message as connection was closed"))


def serve(
    port: int, *, show: bool, announce: Callable[[str], None], own: "Callable[[], OwnData] | None" = None
) -> None:
    """Serve the page on 127.0.0.1 until interrupted; port 0 takes any free one. `announce` gets its address. `own`
    computes what is said of the user's data, which the page shows from the start.

    Raises what `own` raises, `LinregLoraError` where Panel is missing, `InvalidInput` for a port that cannot be used.
    """
    try:
        import panel as pn
    except ImportError:
        raise LinregLoraError("explore needs Panel: pip install 'linreg-lora[explore]'") from None
    port = _free_port(port)
    given = own() if own is not None else None
    from linreg_lora.explorer import curves, markup
    from linreg_lora.explorer.app import Explorer
    from linreg_lora.explorer.own_data import LARGEST_UPLOAD
    from linreg_lora.explorer.setting import Setting

    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_ReadersLeave())
    pn.extension(raw_css=[markup.DOCUMENT], notifications=False)
    theory, processes, methods = ThreadPoolExecutor(1), LocalProcesses(1), LocalProcesses(1)
    theory.submit(curves.against_rank, Setting())  # imports while the browser starts

    def page() -> pn.viewable.Viewable:
        parameters = {name: values[0].decode() for name, values in (pn.state.session_args or {}).items()}
        return Explorer(theory, processes, methods, parameters, given).page()

    try:
        server: Any = pn.serve(
            page,
            port=port,
            address=_ADDRESS,
            websocket_origin=[f"{_ADDRESS}:{port}", f"localhost:{port}"],
            title="LoRA against full fine-tuning",
            show=show,
            start=False,
            verbose=False,
            websocket_max_message_size=2 * LARGEST_UPLOAD,  # base64 takes four thirds
        )
        announce(f"http://{_ADDRESS}:{port}")
        with contextlib.suppress(KeyboardInterrupt):
            server.start()
            server.io_loop.start()
    finally:
        processes.kill()
        methods.kill()
        theory.shutdown(wait=False, cancel_futures=True)


def _free_port(port: int) -> int:
    """`port`, or a free one for 0, after trying to bind it."""
    if not 0 <= port <= _LARGEST_PORT:
        raise InvalidInput("port", f"an integer in 0..{_LARGEST_PORT}", port)
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((_ADDRESS, port))
        except OSError as error:
            reason = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise InvalidInput("port", "a port that is free (0: any)", port, reason) from None
        return trial.getsockname()[1]
