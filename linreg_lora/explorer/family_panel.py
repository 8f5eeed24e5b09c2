"""The page's part on other methods: which ones, what theory says of them at once, and draws of each on demand.

Theory of a method may take seconds, so it runs in a process of its own, and sliders are never kept waiting.
"""

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import panel as pn

from linreg_lora.errors import LinregLoraError, one_line
from linreg_lora.explorer import family, family_table, markup
from linreg_lora.explorer.curves import AgainstRank
from linreg_lora.explorer.family import Along, Member, Members
from linreg_lora.explorer.family_picture import Shown, looks
from linreg_lora.explorer.family_view import FamilyView
from linreg_lora.explorer.simulate import Drawn, MethodJob
from linreg_lora.explorer.view import FULL, LORA, View
from linreg_lora.figures.style import Series
from linreg_lora.risk_curve import RiskCurve

#: Seconds that methods may show the setting before.
_LATE = 0.4
_LORA_LOOK, _FULL_LOOK = Series(LORA, "", "-"), Series(FULL, "", (0, (3.5, 2.0)))


class FamilyPanel:
    """`theory`, `draws`: where each runs; `later`: changes the page when its document may be changed; `changed`: is
    called when there are other methods to keep in the link."""

    def __init__(
        self,
        theory: Executor,
        draws: Executor,
        later: Callable[[Callable[[], Any]], None],
        changed: Callable[[], None],
        view: View,
        members: Members,
    ):
        self._theory, self._draws, self._later, self._changed = theory, draws, later, changed
        self._view = FamilyView(view)
        self._found: AgainstRank | None = None
        self._names: tuple[str, ...] = ()
        self._members: dict[str, Member] = {}
        self._along: dict[str, Along | None] = {}
        self._drawn: dict[str, Drawn] = {}
        self._task: asyncio.Task | None = None
        self.members = members
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        self._common = pn.widgets.CheckBoxGroup(
            name="common methods", options=list(family.COMMON), stylesheets=[markup.WIDGET, markup.BOXES],
            value=[name for name in family.COMMON if name in members.adapt], margin=(2, 0), **wide,
        )  # fmt: skip
        self._others = pn.widgets.TextInput(
            name="others", placeholder="as in lora:3+bias, tangent:2", stylesheets=[markup.WIDGET], margin=(2, 0),
            value=", ".join(name for name in members.adapt if name not in family.COMMON), **wide,
        )  # fmt: skip
        self._seed = pn.widgets.IntInput(
            name="seed of A0, iid N(0, 1)", value=members.pretrained_seed, start=0, margin=(2, 0),
            stylesheets=[markup.WIDGET, markup.SPINS], **wide,
        )  # fmt: skip
        self._message = pn.pane.HTML("", stylesheets=[markup.TEXT], visible=False, margin=0, **wide)
        self.table = pn.pane.HTML("", stylesheets=[markup.TEXT, family_table.STYLE], visible=False, margin=0, **wide)
        for widget in (self._common, self._others, self._seed):
            widget.param.watch(self._chosen, "value")

    @property
    def controls(self) -> list[pn.viewable.Viewable]:
        """What stands in the page's column of controls."""
        note = markup.rule("Other methods") + markup.note("r is LoRA's rank, above; A0 is the pretrained map")
        title = pn.pane.HTML(note, stylesheets=[markup.TEXT], sizing_mode="stretch_width", margin=0)
        return [title, self._common, self._others, self._message, self._seed]

    @property
    def shown(self) -> list[Shown]:
        """What is known of the methods so far."""
        if self._found is None:
            return []
        known = [name for name in self._names if name in self._members]
        look = looks(self._names, self._found.setting)
        return [Shown(self._members[name], look[name], self._along.get(name), self._drawn.get(name)) for name in known]

    def follow(self, found: AgainstRank) -> None:
        """Show the methods on the setting of a curve."""
        before, self._found = self._found, found
        if before is None or before.setting != found.setting:
            self._forget()
        self._start()

    def show_simulated(self, curve: RiskCurve | None) -> None:
        """Means of LoRA and FFT in the table; None removes all means."""
        if curve is None:
            self._drawn = {}
        elif self._found is not None:
            assert curve.stderr is not None
            assert curve.fft_stderr is not None
            assert curve.trials is not None
            one = curve.at_rank(min(self._found.setting.lora, self._found.curve.problem.max_rank))
            note = "; ".join(curve.notes)
            self._drawn[f"lora:{self._found.setting.lora}"] = Drawn(one.risk, one.stderr or 0.0, curve.trials, note)
            self._drawn["fft"] = Drawn(curve.fft_risk, curve.fft_stderr, curve.trials, note)
        self._show(self._members)

    async def draw(self, trials: int, advance: Callable[[int], None]) -> None:
        """Fit each method to draws, those first of which theory knows nothing; `advance` gets how many are new."""
        found, seed = self._found, self.members.pretrained_seed
        if found is None:
            return
        known = {name for name, one in self._members.items() if one.kind != "simulation"}
        names = sorted(self._names, key=lambda name: name in known)
        jobs = [MethodJob(family.problem_of(found.setting, seed), name, trials) for name in names]
        while jobs:
            for job in list(jobs):
                before = job.made
                try:
                    drawn = await job.more(self._draws)
                except Exception as error:
                    drawn = Drawn(float("nan"), float("nan"), 0, _said(error))
                    jobs.remove(job)
                if self._found is not found or self.members.pretrained_seed != seed:
                    return
                self._later(functools.partial(self._draws_of, found, job.name, drawn))
                advance((trials if job not in jobs else job.made) - before)
                if job in jobs and job.made >= trials:
                    jobs.remove(job)

    @property
    def count(self) -> int:
        """How many methods there are beside LoRA and FFT."""
        return len(self._names)

    def stop(self) -> None:
        """Compute nothing any longer."""
        if self._task is not None:
            self._task.cancel()

    # -- theory -----------------------------------------------------------------------------------------------------

    def _chosen(self, event: Any) -> None:
        """Take what the widgets say; what is no method is refused, and what was shown stays."""
        adapt = (*self._common.value, *family.split(self._others.value))
        wanted = Members(tuple(dict.fromkeys(adapt)), self._seed.value)  # type: ignore[arg-type]
        if self._found is not None:
            try:
                wanted.names(self._found.setting)
            except LinregLoraError as error:
                self._say(str(error))
                return
        self.members = wanted
        self._say("")
        if event.obj is self._seed:
            self._forget()
        self._changed()
        self._start()

    def _forget(self) -> None:
        self._members, self._along, self._drawn = {}, {}, {}

    def _start(self) -> None:
        if self._found is None:
            return
        self.stop()
        try:
            self._names = self.members.names(self._found.setting)
        except LinregLoraError as error:
            self.members, self._names = Members(), ()
            self._say(str(error))
        if all(name in self._along for name in self._names):
            self._later(functools.partial(self._show, self._members))  # a widget's callback may not change the plot
        else:
            self._task = asyncio.get_running_loop().create_task(self._follow(self._found, self._names))

    async def _follow(self, found: AgainstRank, names: tuple[str, ...]) -> None:
        """Numbers first, then curves. What is late is shown as such, and any error is a line on the page."""
        due: float | None = time.monotonic() + _LATE
        members, along = self._members, self._along
        show = functools.partial(self._show, members)
        ways: list[tuple[Callable[..., Any], dict[str, Any]]] = [(family.member, members), (family.along_ranks, along)]
        asked = [(*way, name) for way in ways for name in names]
        try:
            for function, known, name in asked:
                if name in known:
                    continue
                call = self._theory.submit(function, found.setting, self.members.pretrained_seed, name)
                answer = asyncio.wrap_future(call)
                while not (await asyncio.wait([answer], timeout=due and max(0.0, due - time.monotonic())))[0]:
                    self._later(show)
                    due = None
                known[name] = answer.result()
                if due is None:
                    self._later(show)
        except Exception as error:
            self._later(functools.partial(self._say, _said(error)))
        self._later(show)

    # -- the page ---------------------------------------------------------------------------------------------------

    def _draws_of(self, found: AgainstRank, name: str, drawn: Drawn) -> None:
        if self._found is found and name in self._names:
            self._drawn[name] = drawn
            self._show(self._members)

    def _show(self, members: dict[str, Member]) -> None:
        """Bring plot and table up to date, if these are still the methods in question."""
        found = self._found
        if found is None or members is not self._members:
            return
        if not self._names and not self.table.visible:
            return
        shown = self.shown
        self._view.show(shown, found)
        if not self._names:
            self.table.param.update(object="", visible=False)
            return
        lora, full = family.reference(found)
        look = looks(self._names, found.setting) | {lora.method: _LORA_LOOK, full.method: _FULL_LOOK}
        waiting = [name for name in self._names if name not in self._members]
        listed = [lora, full, *(one.member for one in shown)]
        drawn = {one.method: self._drawn[one.method] for one in listed if one.method in self._drawn}
        self.table.param.update(object=family_table.table(listed, look, drawn, waiting), visible=True)

    def _say(self, message: str) -> None:
        self._message.object = markup.refusal(one_line(message)) if message else ""
        self._message.visible = bool(message)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, LinregLoraError) else f"no number: {type(error).__name__}: {error}"
