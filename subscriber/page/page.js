"use strict";
// The law of this file: a stranger's text goes to the page as text and never as markup; what cannot be seen in it is
// spelled out; an element stays where it is while what it tells of does, so that an open row stays open.

const POLL_MS = 3000;
const SLOWEST_POLL_MS = 15000;
const ANSWER_MS = 5000;
const SHOWN_ROWS = 6; // as page.css has it
const SILENT_AFTER_MS = 8000;
const LEVELS = {
  starting: "Starting", well: "Well", look: "Look", paused: "Paused", trouble: "Trouble", draining: "Draining",
  silent: "No answer",
};
const STAGES = { open: "opening", transcribe: "transcribing", write: "writing", complete: "recording" };
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}|(?![\ufe0e\ufe0f])\p{Default_Ignorable_Code_Point}/gu;
const SVG = "http://www.w3.org/2000/svg";

const at = (id) => document.getElementById(id);

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A stranger's text: characters that are invisible, or that turn the others' order round, as \u{202E}.
function tell(node, text) {
  if (node.told === text) return;
  node.told = text;
  node.replaceChildren();
  let from = 0;
  for (const hit of text.matchAll(UNSEEN)) {
    const spelled = document.createElement("span");
    spelled.className = "escape";
    spelled.textContent = `\\u{${hit[0].codePointAt(0).toString(16).toUpperCase()}}`;
    node.append(text.slice(from, hit.index), spelled);
    from = hit.index + hit[0].length;
  }
  node.append(text.slice(from));
}

// A sentence of ours: what stands between backticks is a command.
function sayWithCode(node, text) {
  if (node.told === text) return;
  node.told = text;
  node.replaceChildren(...text.split("`").map((part, number) => {
    const made = document.createElement(number % 2 ? "code" : "span");
    made.textContent = part;
    return made;
  }));
}

function tellName(part, uri) {
  const cut = uri.lastIndexOf("/") + 1;
  tell(part("file"), uri.slice(cut) || uri);
  tell(part("folder"), uri.slice(0, cut));
}

function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function dollars(usd) {
  if (usd === 0) return "$0";
  return usd < 0.1 ? `$${usd.toPrecision(2)}` : `$${usd.toFixed(2)}`;
}

const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);
const clock = (iso) => `${iso.slice(11, 19)} UTC`;
const since = (now, iso) => (Date.parse(now) - Date.parse(iso)) / 1000;

function showHealth(health) {
  document.documentElement.dataset.level = health.level;
  const shape = `#shape-${health.level}`;
  if (at("shape").getAttribute("href") !== shape) {
    at("shape").setAttribute("href", shape);
    showIcon(health.level);
  }
  say(at("level"), LEVELS[health.level]);
  say(at("headline"), health.headline);
  tell(at("detail"), health.detail);
  const runbook = health.runbook ? `RUNBOOK.md has more under ${health.runbook}.` : "";
  at("remedy").hidden = !health.remedy && !runbook;
  sayWithCode(at("remedy"), `${health.remedy} ${runbook}`.trim());
  document.title = `${LEVELS[health.level]}: ${health.headline} · subscriber`;
}

// The tab's icon has the shape and the colour of the state, too.
function showIcon(level) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--level").trim();
  const drawn = [...at(`shape-${level}`).children].map((part) => new XMLSerializer().serializeToString(part)).join("");
  const style = `fill='none' stroke='${colour}' stroke-width='2.5' stroke-linecap='round'`;
  const svg = `<svg xmlns='${SVG}' viewBox='-1 -1 26 26' ${style}>${drawn}</svg>`;
  document.querySelector("link[rel=icon]").href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

function showFigures({ work, rate, backlog, money, now }) {
  say(at("in-flight"), String(work.in_flight));
  say(at("limit"), `of ${work.limit}`);
  say(at("waiting"), work.waiting ? `${work.waiting} waiting` : "none waiting");
  say(at("slots"), String(work.slots_in_use));
  say(at("slots-limit"), `of ${work.slots}`);
  say(at("slots-more"), work.slots < work.most_slots ? `limited; usually ${work.most_slots}` : "requests on the wire");
  say(at("rate"), rate.done_per_minute.toFixed(1));
  say(at("speed"), `${rate.audio_per_second.toFixed(1)} × real time`);
  say(at("backlog"), backlog.oldest_seconds === null ? "none held" : duration(backlog.oldest_seconds));
  say(at("backlog-more"), arrival(now, backlog));
  say(at("money"), dollars(money.today_usd));
  showBudget(money);
}

// A message's age is told where the subscription is behind: every delivery takes some seconds.
function arrival(now, { arrived_at, arrived_age_seconds }) {
  if (arrived_at === null) return "no message yet";
  const old = arrived_age_seconds < 10 ? "" : `, ${duration(arrived_age_seconds)} old`;
  return `last came ${duration(since(now, arrived_at))} ago${old}`;
}

function showBudget(money) {
  const none = money.budget_usd === null;
  at("budget").hidden = none;
  if (none) return say(at("money-more"), `since ${clock(money.since).slice(0, 5)} UTC`);
  const used = money.budget_usd - money.budget_remaining_usd;
  at("budget-meter").value = used / money.budget_usd;
  say(at("money-more"), `budget ${dollars(used)} of ${dollars(money.budget_usd)}`);
}

// One bar a minute; what is bad hangs below the line, so that it is told by more than its colour.
function plot(id, good, bad, label) {
  const picture = at(id);
  const up = Math.max(...good), down = Math.max(0, ...bad);
  const scale = 54 / (up + down || 1);
  const base = down ? 1 + up * scale : 55;
  const bars = (values, sign) => values
    .map((value, minute) => (value ? `M${minute * 4} ${base}v${sign * Math.max(1, value * scale)}h3V${base}z` : ""))
    .join("");
  if (!picture.firstChild) {
    for (const name of ["bars", "bad", "base"]) {
      picture.append(document.createElementNS(SVG, "path"));
      picture.lastChild.setAttribute("class", name);
    }
  }
  const paths = [bars(good, -1), bars(bad, 1), `M0 ${base}H240`];
  paths.forEach((path, number) => picture.children[number].setAttribute("d", path));
  picture.setAttribute("aria-label", label);
}

function showHour(hour, work) {
  const done = sum(hour.done), dead = sum(hour.dead), failed = sum(hour.failed);
  const bad = hour.dead.map((one, minute) => one + hour.failed[minute]);
  const worse = [dead && `${dead} dead`, failed && `${failed} tried again`].filter(Boolean);
  const finished = [`${done} done`, ...worse].join(" · ");
  say(at("plot-done-sum"), finished);
  plot("plot-done", hour.done, bad, `Finished in the last hour: ${finished}`);
  const flight = `now ${work.in_flight}, most ${Math.max(...hour.in_flight)}`;
  say(at("plot-in-flight-sum"), flight);
  plot("plot-in-flight", hour.in_flight, [], `Jobs in flight in the last hour: ${flight}`);
  const cost = dollars(sum(hour.cost_usd));
  say(at("plot-cost-sum"), cost);
  plot("plot-cost", hour.cost_usd, [], `Cost of the last hour: ${cost}`);
}

function newRow(id) {
  const template = at(id === "jobs" ? "job-row" : "ended-row");
  return template.content.firstElementChild.cloneNode(true);
}

// Rows keep their element, and with it whether they are open, as long as their key is among the items.
function showRows(id, items, key, update) {
  const list = at(id);
  const rows = (list.rows ??= new Map());
  const left = new Set(rows.keys());
  items.forEach((item, place) => {
    const name = key(item);
    left.delete(name);
    if (!rows.has(name)) rows.set(name, newRow(id));
    const row = rows.get(name);
    update((part) => row.querySelector(`.${part}, ${part}`), item);
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
  });
  for (const name of left) {
    rows.get(name).remove();
    rows.delete(name);
  }
  at(`${id}-empty`).hidden = items.length > 0;
  showButton(id);
}

function showButton(id) {
  const button = at(`${id}-all`), all = at(id).classList.contains("all"), more = at(id).children.length - SHOWN_ROWS;
  button.hidden = more <= 0;
  button.setAttribute("aria-expanded", String(all));
  say(button, all ? "Show fewer" : `Show ${more} more`);
}

for (const id of ["jobs", "failed", "finished"]) {
  at(`${id}-all`).addEventListener("click", () => {
    at(id).classList.toggle("all");
    showButton(id);
  });
}

function showJob(part, job) {
  tellName(part, job.job);
  const known = job.total_seconds > 0;
  const share = known ? Math.min(1, job.done_seconds / job.total_seconds) : 0;
  const again = job.attempt > 1 ? `attempt ${job.attempt} · ` : "";
  say(part("when"), known ? `${Math.floor(share * 100)} %` : "");
  say(part("facts"), `${again}${STAGES[job.stage] ?? job.stage} · ${duration(job.seconds)}`);
  if (known) part("progress").value = share;
  else part("progress").removeAttribute("value");
  const length = known ? `${duration(job.done_seconds)} of ${duration(job.total_seconds)} of audio` : "length not known yet";
  tell(part("whole"), `${job.job}, generation ${job.generation}: ${length}`);
  tell(part("explain"), job.explain);
}

function showEnded(now) {
  return (part, one) => {
    const done = one.outcome === "transcribed", again = one.next_attempt_at !== null;
    const harmless = ["gone", "superseded", "ignored"].includes(one.outcome);
    tellName(part, one.job ?? `message ${one.message_id}`);
    say(part("when"), `${duration(since(now, one.at))} ago`);
    say(part("facts"), [`took ${duration(one.took_seconds)}`, one.cost_usd && dollars(one.cost_usd)].filter(Boolean).join(" · "));
    part("why").hidden = done;
    say(part("badge"), again ? `${one.reason}, ${againIn(now, one)}` : one.reason);
    part("badge").className = `badge ${again ? "again" : harmless ? "" : "bad"}`;
    tell(part("message"), one.message);
    const attempt = one.attempt === null ? "" : `, attempt ${one.attempt}`;
    const length = one.audio_seconds === null ? "" : `, ${duration(one.audio_seconds)} of audio`;
    tell(part("whole"), `${one.job ?? one.message_id}${attempt}${length}: ${one.outcome} at ${one.at.slice(0, 19)}Z`);
    tell(part("explain"), one.explain ?? "");
  };
}

function againIn(now, one) {
  const left = -since(now, one.next_attempt_at);
  return left > 0 ? `again in ${duration(left)}` : "to be tried again";
}

function show(told) {
  showHealth(told.health);
  showFigures(told);
  showHour(told.hour, told.work);
  showRows("jobs", told.jobs, (job) => `${job.job}#${job.generation}`, showJob);
  const ended = (one) => `${one.job}#${one.generation}@${one.message_id}${one.at}`;
  showRows("failed", told.failed, ended, showEnded(told.now));
  showRows("finished", told.finished, ended, showEnded(told.now));
  const jobs = told.jobs.length + told.jobs_more;
  say(at("jobs-count"), jobs ? `(${jobs})` : "");
  at("jobs-more").hidden = !told.jobs_more;
  say(at("jobs-more"), `… and ${told.jobs_more} more, which began later.`);
  const { owner, version, started_at, subscription, output, models } = told.process;
  const up = duration(since(told.now, started_at));
  tell(at("process"), `${owner} · version ${version} · up ${up} · ${subscription.join(", ")} → ${output} · ${models.join(", ")}`);
  say(at("freshness"), `as of ${clock(told.now)}, asked again every ${POLL_MS / 1000} s`);
  at("main").setAttribute("aria-busy", "false");
}

let heard = null, heardAt = performance.now(), failures = 0, timer = 0;

function showSilence(error) {
  if (performance.now() - heardAt < SILENT_AFTER_MS) return;
  const old = heard ? "The figures below are from then." : "It has not answered yet.";
  showHealth({
    level: "silent",
    headline: heard ? `nothing heard since ${clock(heard)}` : "nothing heard yet",
    detail: `The daemon may be gone, or this device may have no network (${error.message}). ${old}`,
    remedy: "See whether its process or pod is there. This page goes on by itself when it answers.",
    runbook: "SubscriberTargetDown",
  });
}

async function ask() {
  const answer = await fetch("api/status", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
  if (!answer.ok) throw new Error(`it answered ${answer.status}`);
  return answer.json();
}

async function poll() {
  clearTimeout(timer);
  try {
    const told = await ask();
    [heard, heardAt, failures] = [told.now, performance.now(), 0];
    show(told);
  } catch (error) {
    failures += 1;
    showSilence(error);
  }
  clearTimeout(timer);
  const pause = Math.min(SLOWEST_POLL_MS, POLL_MS * Math.max(1, failures - 3));
  if (!document.hidden) timer = setTimeout(poll, pause);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
poll();
