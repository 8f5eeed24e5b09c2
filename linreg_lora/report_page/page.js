
"use strict";
// Filters and sorts what is on the page. The state is the URL's fragment, as in #verdict=holds&sort=id; a fragment
// without "=" is a link to a claim, which opens, and is shown even when the filters hide it.
const form = document.getElementById("filters");
const list = document.getElementById("list");
const claims = [...document.querySelectorAll("article.claim")];
const listed = [...list.children];
const unfold = document.getElementById("unfold");
const verdicts = [...form.elements.verdict.options].map((option) => option.value);
const fields = ["q", "verdict", "source", "kind", "sort"];
const words = new Intl.Collator("en", { numeric: true });
const keys = {
  id: (a, b) => words.compare(a.id, b.id),
  verdict: (a, b) => verdicts.indexOf(a.verdict) - verdicts.indexOf(b.verdict),
  source: (a, b) => words.compare(a.source, b.source),
  slack: (a, b) => Number(a.slack ?? Infinity) - Number(b.slack ?? Infinity) || 0,
};

function apply() {
  const wanted = Object.fromEntries(fields.map((name) => [name, form.elements[name].value.trim()]));
  const terms = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
  for (const claim of claims) {
    const data = claim.dataset;
    claim.hidden =
      (wanted.verdict && data.verdict !== wanted.verdict) ||
      (wanted.source && data.paper !== wanted.source) ||
      (wanted.kind && data.kind !== wanted.kind) ||
      !terms.every((term) => data.text.includes(term));
  }
  const compare = keys[wanted.sort];
  const order = compare ? [...listed].sort((a, b) => compare(a.dataset, b.dataset)) : listed;
  list.append(...order);
  const shown = claims.filter((claim) => !claim.hidden).length;
  document.getElementById("shown").value = `${shown} of ${claims.length} shown`;
  document.getElementById("none").hidden = shown > 0;
  mark();
  return wanted;
}

function remember(wanted) {
  const state = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  history.replaceState(null, "", state.size ? `#${state}` : location.href.split("#")[0]);
}

function follow() {
  const fragment = location.hash.slice(1);
  if (fragment.includes("=")) {
    const state = new URLSearchParams(fragment);
    form.reset();
    for (const name of fields) form.elements[name].value = state.get(name) ?? "";
    for (const select of form.querySelectorAll("select")) if (select.selectedIndex < 0) select.value = "";
    apply();
    if (document.activeElement?.closest?.(".tiles")) document.getElementById("claims").scrollIntoView();
    return;
  }
  const target = fragment && document.getElementById(decodeURIComponent(fragment));
  if (!target) return;
  if (target.hidden) {
    form.reset();
    apply();
  }
  for (const depth of target.querySelectorAll(":scope > details")) depth.open = true;
  target.scrollIntoView();
}

function mark() {
  // What scrolls can be reached by keyboard; what does not is no stop on the way.
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const depth of opened) depth.open = true;
});
addEventListener("afterprint", () => {
  for (const depth of opened) depth.open = false;
});
addEventListener("hashchange", follow);
addEventListener("resize", mark);
document.addEventListener("toggle", mark, true);
form.addEventListener("input", () => remember(apply()));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => remember(apply())));
unfold.addEventListener("click", () => {
  const open = unfold.getAttribute("aria-pressed") !== "true";
  for (const depth of document.querySelectorAll(".depth, .proof > details")) depth.open = open;
  unfold.setAttribute("aria-pressed", open);
  unfold.textContent = open ? "Close all" : "Open all";
});
form.hidden = false;
apply();
follow();
