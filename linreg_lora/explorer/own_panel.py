"""The page's part on the user's own data: files to choose, the fit, its plot and what is said of it.

A fit runs in the process that draws simulations, so that sliders are never kept waiting.
"""

import asyncio
import functools
import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import panel as pn

from linreg_lora.errors import LinregLoraError, one_line
from linreg_lora.explorer import markup, own_data
from linreg_lora.explorer.file_picker import FilePicker
from linreg_lora.explorer.own_data import OwnData
from linreg_lora.explorer.own_view import OwnView

_MATRIX, _ROWS = "a matrix, outputs x inputs", "rows that it is fitted to"
_TABLES = ".csv,.tsv,.txt,.parquet,.npz"


class OwnPanel:
    """`later`: changes the page when its document may be changed; `own`: what is shown from the start, if anything."""

    def __init__(self, executor: Executor, later: Callable[[Callable[[], Any]], None], own: OwnData | None):
        self._executor, self._later = executor, later
        self._own: OwnData | None = None
        self._task: asyncio.Task | None = None
        self.view = OwnView()
        self.data = FilePicker(label="data (csv, parquet or npz)", accept=_TABLES, stylesheets=[markup.FILE], **_wide())
        self.base = FilePicker(
            label="pretrained map (none is 0)",
            accept=f"{_TABLES},.npy,.safetensors",
            stylesheets=[markup.FILE],
            **_wide(),
        )
        self.y_columns, self.x_columns, self.key = (
            pn.widgets.TextInput(name=name, placeholder=example, stylesheets=[markup.WIDGET], **_wide())
            for name, example in (
                ("outputs (y-columns)", "as in y1,y2 or y*"),
                ("inputs (x-columns)", "all other columns"),
                ("array in the map's file (key)", "if it has several"),
            )
        )
        self.kind = pn.widgets.Select(
            name="the map's file holds", options=[_MATRIX, _ROWS], stylesheets=[markup.WIDGET], **_wide()
        )
        look: dict[str, Any] = {"stylesheets": [markup.WIDGET], "margin": 0}
        self._fit = pn.widgets.Button(name="Fit", button_type="primary", **look)
        self._remove = pn.widgets.Button(name="Remove", disabled=True, **look)
        self._note = pn.pane.HTML("", stylesheets=[markup.TEXT], **_wide(0))
        self._message = pn.pane.HTML("", stylesheets=[markup.TEXT], visible=False, **_wide(0))
        self._said = pn.pane.HTML("", stylesheets=[markup.TEXT], **_wide(0))
        self._picture = pn.widgets.FileDownload(
            callback=self._png, filename="linreg-lora-fit.png", label="PNG of the fit", button_type="light", **look
        )
        self._fit.on_click(self._start)
        self._remove.on_click(lambda _: self._show(None))
        self.plots = pn.Column(
            self._said,
            pn.pane.HTML(markup.OWN_LEGEND, stylesheets=[markup.TEXT], **_wide(0)),
            pn.pane.Bokeh(self.view.plot, **_wide(0)),
            pn.FlexBox(self._picture, margin=(0, 6, 12, 6)),
            visible=False,
            **_wide(0),
        )
        if own is not None:
            self._show(own)

    @property
    def controls(self) -> list[pn.viewable.Viewable]:
        """What stands in the page's column of controls."""
        title = pn.pane.HTML(markup.rule("Your data"), stylesheets=[markup.TEXT], **_wide(0))
        buttons = pn.FlexBox(self._fit, self._remove, gap="8px", align_items="center", margin=(6, 0, 0, 0))
        return [
            title, self.data, self.y_columns, self.x_columns, self.base, self.kind, self.key, buttons, self._note,
            self._message,
        ]  # fmt: skip

    def stop(self) -> None:
        """Wait for no fit any longer."""
        if self._task is not None:
            self._task.cancel()

    def _start(self, _: Any) -> None:
        if self._task is not None and not self._task.done():
            return
        self._say("")
        try:
            sent, known = self.data.sent(), self.base.sent()
        except LinregLoraError as error:
            self._say(str(error))
            return
        columns = (self.key.value_input, self.x_columns.value_input, self.y_columns.value_input)
        job = functools.partial(own_data.fit_uploads, sent, known, self.kind.value == _ROWS, *columns)
        self._fit.disabled = True
        self._task = asyncio.get_running_loop().create_task(self._follow(job))

    async def _follow(self, job: Callable[[], OwnData]) -> None:
        """Any error is a line on the page: whatever a file does, the page goes on."""
        own, message, started = None, "", time.monotonic()
        try:
            call = asyncio.wrap_future(self._executor.submit(job))
            while not (await asyncio.wait([call], timeout=1.0))[0]:
                self._later(functools.partial(self._wait, time.monotonic() - started))
            own = call.result()
        except LinregLoraError as error:
            message = str(error)
        except Exception as error:
            message = f"data: no fit: {type(error).__name__}: {error}"
        self._later(functools.partial(self._finished, own, message))

    def _wait(self, seconds: float) -> None:
        self._note.object = markup.note(f"fitting, {seconds:.0f} s")

    def _finished(self, own: OwnData | None, message: str) -> None:
        self._fit.disabled, self._note.object = False, ""
        self._say(message)
        if own is not None:
            self._show(own)

    def _show(self, own: OwnData | None) -> None:
        """The plot and what is said of it; None removes both."""
        self._own = own
        self.plots.visible, self._remove.disabled = own is not None, own is None
        if own is not None:
            self.view.show(own)
            self._said.object = markup.said(own.sentences)

    def _say(self, message: str) -> None:
        self._message.object = markup.refusal(one_line(message)) if message else ""
        self._message.visible = bool(message)

    def _png(self) -> io.BytesIO:
        from linreg_lora.figures import pictures

        assert self._own is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fit.png"
            pictures.save(pictures.of_fit(self._own.advice), path)
            return io.BytesIO(path.read_bytes())


def _wide(margin: Any = (2, 0)) -> dict[str, Any]:
    return {"sizing_mode": "stretch_width", "margin": margin}
