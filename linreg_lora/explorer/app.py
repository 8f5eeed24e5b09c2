"""The explorer's page: widgets, a link, downloads, and the order in which things are computed.

Theory runs on one thread, simulation in one process, for all visitors together: JAX must not run twice at a time
(`runtime`). While a slider moves, settings that are out of date before their turn are skipped.
"""

import asyncio
import functools
import io
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import panel as pn

from linreg_lora.errors import LinregLoraError, one_line
from linreg_lora.explorer import curves, family, markup, picture
from linreg_lora.explorer.family_panel import FamilyPanel
from linreg_lora.explorer.own_data import OwnData
from linreg_lora.explorer.own_panel import OwnPanel
from linreg_lora.explorer.setting import LARGEST_DIMENSION, PARAMETERS, Family, Setting, from_query
from linreg_lora.explorer.simulate import CHUNK, Job
from linreg_lora.explorer.training import AgainstTime, against_time
from linreg_lora.explorer.training_view import TrainingView
from linreg_lora.explorer.view import View
from linreg_lora.problem import Moments
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.sweeps.executors import LocalProcesses

_TRIALS = {f"{CHUNK * k} draws": CHUNK * k for k in (2, 8, 32, 128)}
#: Seconds that a setting must last before LoRA's risk against n is computed, so that it never keeps a slider waiting.
_REST = 0.3
_FORMATS = ("png", "svg", "csv", "nc")


class Explorer:
    """One visitor's page. `theory`: one thread for all visitors; `processes`: one process for all that draws, and
    `methods`: one that computes what theory says of other methods; `own`: the user's data that are shown from the
    start."""

    def __init__(
        self,
        theory: ThreadPoolExecutor,
        processes: LocalProcesses,
        methods: LocalProcesses,
        parameters: dict[str, str],
        own: OwnData | None = None,
    ):
        self._theory, self._processes = theory, processes
        self._setting, self._refusal = Setting(), ""
        members = family.Members()
        try:
            self._setting = from_query(parameters, (family.ADAPT, family.SEED))
            members = family.of_query(parameters)
        except LinregLoraError as error:
            self._refusal = str(error)
        self._ranks: curves.AgainstRank | None = None
        self._simulated: RiskCurve | None = None
        self._job: Job | None = None
        self._task: asyncio.Task | None = None
        self._out_of_date, self._running, self._open = False, False, True
        self._document: Any = pn.state.curdoc
        self._location: Any = pn.state.location
        self.view, self.training, self.own = View(), TrainingView(), OwnPanel(processes, self._later, own)
        self.family = FamilyPanel(methods, processes, self._later, self._keep_in_link, self.view, members)
        self.widgets = _widgets(self._setting)
        self._own_parameter(self._setting.family)
        self._message = pn.pane.HTML("", stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0)
        self._summary = pn.pane.HTML("", stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0)
        self._trained = pn.pane.HTML("", stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0)
        self._say(self._refusal)
        self._simulate = pn.widgets.Button(
            name="Simulate", button_type="primary", stylesheets=[markup.WIDGET], margin=0
        )
        self._cancel = pn.widgets.Button(name="Cancel", disabled=True, stylesheets=[markup.WIDGET], margin=0)
        self._trials = pn.widgets.Select(
            name="draws",
            options=_TRIALS,
            value=CHUNK * 8,
            width=105,
            stylesheets=[markup.WIDGET, markup.NAMED],
            margin=0,
        )
        self._bar = pn.indicators.Progress(
            value=0, max=100, sizing_mode="stretch_width", height=10, stylesheets=[markup.BAR], margin=(10, 0, 6, 0)
        )
        self._count = pn.pane.HTML("", stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0)
        for widget in self.widgets.values():
            widget.param.watch(self._changed, "value")
        self._simulate.on_click(self._start)
        self._cancel.on_click(lambda _: self._stop())

    def page(self) -> pn.viewable.Viewable:
        """Everything, as one column that turns into two where there is room."""
        downloads = [
            pn.widgets.FileDownload(
                callback=functools.partial(self._file, kind),
                filename=f"linreg-lora-explorer.{kind}",
                label=kind.upper(),
                button_type="light",
                stylesheets=[markup.WIDGET],
                margin=0,
            )
            for kind in _FORMATS
        ]
        buttons = pn.FlexBox(self._simulate, self._cancel, self._trials, gap="8px", align_items="center", margin=0)
        controls = pn.Column(
            *self.widgets.values(),
            *self.family.controls,
            pn.pane.HTML(markup.rule("Simulation"), stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0),
            buttons,
            self._bar,
            self._count,
            pn.pane.HTML(markup.rule("Download"), stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0),
            pn.FlexBox(*downloads, gap="8px", align_items="center", margin=0),
            *self.own.controls,
            stylesheets=[markup.CONTROLS],
            margin=0,
        )
        plots = pn.Column(
            self.own.plots,
            self._message,
            self._summary,
            pn.pane.HTML(markup.LEGEND, stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0),
            pn.pane.Bokeh(self.view.against_rank, sizing_mode="stretch_width", margin=0),
            self.family.table,
            pn.pane.Bokeh(self.view.against_n, sizing_mode="stretch_width", margin=0),
            pn.pane.Bokeh(self.training.plot, sizing_mode="stretch_width", margin=0),
            self._trained,
            stylesheets=[markup.PLOTS],
            margin=0,
        )
        head = pn.pane.HTML(markup.HEAD, stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0)
        body = pn.FlexBox(controls, plots, gap="16px", align_items="flex-start", sizing_mode="stretch_width", margin=0)
        pn.state.onload(self._changed)
        pn.state.on_session_destroyed(self._closed)
        return pn.Column(head, body, stylesheets=[markup.PAGE], sizing_mode="stretch_width", margin=0)

    # -- theory -----------------------------------------------------------------------------------------------------

    async def _changed(self, *events: Any) -> None:
        """Bring the page up to date with the widgets; while that runs, only note that they have moved on."""
        for event in events:
            if event.obj is self.widgets["family"]:
                self._own_parameter(event.new)
            self._refusal = ""
        self._out_of_date = True
        if self._running:
            return
        self._running = True
        try:
            while self._out_of_date and self._open:
                self._out_of_date = False
                await self._update()
        finally:
            self._running = False

    async def _update(self) -> None:
        try:
            setting = Setting(**{name: widget.value for name, widget in self.widgets.items()})
            found = await self._compute(curves.against_rank, setting)
            samples = await self._compute(curves.against_samples, setting)
        except LinregLoraError as error:
            self._later(functools.partial(self._refuse, str(error)))
            return
        self._later(lambda: self._show(found, samples))
        risk: dict[int, float] = {}
        await asyncio.sleep(_REST)
        if self._out_of_date or not self._open:
            return
        trained = await self._compute(against_time, setting)
        self._later(functools.partial(self._show_training, trained))
        for n in curves.lora_sample_sizes(setting):
            if self._out_of_date or not self._open:
                return
            risk[n] = await self._compute(curves.lora_at, setting, n)
            if len(risk) % 4 == 0:
                self._later(functools.partial(self.view.show_lora, dict(risk), samples.fft))
        self._later(functools.partial(self.view.show_lora, risk, samples.fft))

    def _show(self, found: curves.AgainstRank, samples: curves.AgainstSamples) -> None:
        if self._ranks is not None and found.setting != self._ranks.setting:
            self._stop()
            self._job, self._simulated, self._count.object, self._bar.value = None, None, "", 0
        self._ranks, self._setting = found, found.setting
        if self._simulated is None:
            self.view.show_ranks(found)
        self.view.show_samples(samples, found.setting.dx, found.setting.n)
        self.view.title_of_samples(found.setting.lora)
        self._summary.object = markup.summary(found.summary)
        self.family.follow(found)
        self._keep_in_link()
        self._say(self._refusal)

    def _show_training(self, trained: AgainstTime) -> None:
        self.training.show(trained)
        self._trained.object = markup.aside(trained.caption)

    def _keep_in_link(self) -> None:
        if self._location is not None and self._ranks is not None:
            self._location.search = "?" + urlencode(self._setting.query() | self.family.members.query())

    # -- simulation -------------------------------------------------------------------------------------------------

    def _start(self, _: Any) -> None:
        if self._ranks is None or (self._task is not None and not self._task.done()):
            return
        if self._ranks.curve.moments is Moments.NO_MEAN and not self.family.count:
            self._count.object = markup.note(f"no draws: {self._setting.problem().moments_note}")
            return
        self._job = job = Job(self._setting.problem(), self._ranks.curve.ranks.tolist(), self._trials.value)
        self._simulate.disabled, self._cancel.disabled = True, False
        self._bar.value, self._count.object = 0, markup.note("starting ...")
        self._task = asyncio.get_running_loop().create_task(self._follow(job))

    def _stop(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()

    async def _follow(self, job: Job) -> None:
        end, made, wanted = "no draws", 0, job.trials * (1 + self.family.count)

        def advance(count: int) -> None:
            nonlocal made
            made += count
            self._later(functools.partial(self._progress, job, made, wanted))

        try:
            async for curve in job.run(self._processes):
                self._later(functools.partial(self._drawn, job, curve))
                advance(CHUNK)
                end = "; ".join([f"{curve.trials} draws", *(curve.notes or ["bars: two standard errors"])])
            if self.family.count:
                await self.family.draw(job.trials, advance)
        except asyncio.CancelledError:
            end = f"cancelled: {end}"
        except (LinregLoraError, RuntimeError) as error:  # RuntimeError: the process is gone
            self._later(functools.partial(self._say, str(error)))
        finally:
            self._later(functools.partial(self._finished, end))

    def _drawn(self, job: Job, curve: RiskCurve) -> None:
        if job is not self._job:  # the setting has changed since
            return
        self._simulated = curve
        self.view.show_simulated(curve)
        self.family.show_simulated(curve)

    def _progress(self, job: Job, made: int, wanted: int) -> None:
        if job is self._job:
            self._bar.value = min(100, round(100 * made / wanted))
            self._count.object = markup.note(f"{made} of {wanted} draws")

    def _finished(self, end: str) -> None:
        self._simulate.disabled, self._cancel.disabled = False, True
        self._count.object = markup.note(end)

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _file(self, kind: str) -> io.BytesIO:
        """A download: the picture, or the data."""
        assert self._ranks is not None
        if kind in ("png", "svg"):
            from linreg_lora.figures import style as look

            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"figure.{kind}"
                look.save(picture.draw(self._ranks, self._simulated, self.family.shown), path)
                return io.BytesIO(path.read_bytes())
        data = picture.dataset(self._ranks, self._simulated, self.family.shown, self.family.members.pretrained_seed)
        if kind == "csv":
            return io.BytesIO(data.to_dataframe().to_csv().encode())
        return io.BytesIO(bytes(data.to_netcdf(engine="h5netcdf")))

    async def _compute(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._theory, function, *arguments)

    def _later(self, change: Callable[[], Any]) -> None:
        """Change the page when its document may be changed."""
        if self._open:
            self._document.add_next_tick_callback(change)

    def _own_parameter(self, family: str) -> None:
        for kind, name in PARAMETERS.items():
            self.widgets[name].visible = kind == family

    def _refuse(self, message: str) -> None:
        self._say(message)
        self._summary.object = markup.summary("The curves show the setting before.") if self._ranks else ""

    def _say(self, message: str) -> None:
        self._message.object = markup.refusal(one_line(message)) if message else ""
        self._message.visible = bool(message)

    def _closed(self, _: Any) -> None:
        self._open = False
        self._stop()
        self.own.stop()
        self.family.stop()


def _widgets(setting: Setting) -> dict[str, Any]:
    """A widget for each field of a setting, in the order of the page; number boxes take more than sliders show."""
    size = LARGEST_DIMENSION // 2

    def slider(kind: type, name: str, label: str, start: float, end: float, step: float) -> Any:
        value = getattr(setting, name)
        made = kind(
            name=label,
            start=min(start, value),
            end=max(end, value),
            step=step,
            value=value,
            sizing_mode="stretch_width",
            stylesheets=[markup.WIDGET],
            margin=(2, 0),
        )
        for box in made.select(lambda part: isinstance(part, (pn.widgets.IntInput, pn.widgets.FloatInput))):
            box.param.update(name=label, stylesheets=[*box.stylesheets, markup.NAMED])
        return made

    whole, real = pn.widgets.EditableIntSlider, pn.widgets.EditableFloatSlider
    return {
        "n": slider(whole, "n", "samples n", 2, 600, 1),
        "dx": slider(whole, "dx", "inputs dx", 2, size, 1),
        "dy": slider(whole, "dy", "outputs dy", 2, size, 1),
        "noise": slider(real, "noise", "noise std \u03c3", 0.0, 5.0, 0.05),
        "family": pn.widgets.Select(
            name="singular values of the shift",
            options=[str(family) for family in Family],
            value=str(setting.family),
            sizing_mode="stretch_width",
            stylesheets=[markup.WIDGET],
            margin=(6, 0, 8, 0),
        ),
        "rank": slider(whole, "rank", "rank of the shift", 1, 20, 1),
        "exponent": slider(real, "exponent", "exponent a of i\u207b\u1d43", 0.0, 3.0, 0.05),
        "rate": slider(real, "rate", "rate of decay", 0.0, 2.0, 0.05),
        "scale": slider(real, "scale", "largest singular value", 0.0, 10.0, 0.1),
        "ridge": slider(real, "ridge", "ridge \u03b7", 0.0, 50.0, 0.5),
        "lora": slider(whole, "lora", "LoRA rank r against n and against time", 1, 40, 1),
    }
