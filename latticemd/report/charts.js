// Charts: curves of all runs over time, or of the frame that is shown, on linear or logarithmic axes that can be zoomed.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 58, right: 14, top: 26, bottom: 40 };

/** A number with four digits. */
function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) {
    const [digits, power] = value.toExponential(2).split("e");
    return `${Number(digits)}·10${[...String(Number(power))].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")}`;
  }
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

/** The smallest and the largest of many numbers, as [low, high]. */
function extent(items, of = (item) => item) {
  return items.reduce(([low, high], item) => [Math.min(low, of(item)), Math.max(high, of(item))], [Infinity, -Infinity]);
}

/** Round numbers between two ends of an axis, given in its own scale: logarithms where `log`. */
function ticksOf([low, high], log) {
  if (log && high - low > 0.5) {
    const factors = high - low > 2.2 ? [1] : [1, 2, 5];
    const every = Math.max(1, Math.ceil((high - low) / 7));
    const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, n) => Math.floor(low) + n);
    return decades.filter((d) => d % every === 0).flatMap((d) => factors.map((f) => f * 10 ** d))
      .filter((value) => Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9);
  }
  const [from, to] = log ? [10 ** low, 10 ** high] : [low, high];
  const rough = (to - from) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.floor(to / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

/** Slope of y over x between two x, equal stretches of x counting alike. */
function slopeOf(points) {
  if (points.length < 3) return null;
  const weight = points.map((_, n) => (points[Math.min(n + 1, points.length - 1)][0] - points[Math.max(n - 1, 0)][0]) / 2);
  const total = weight.reduce((sum, w) => sum + w, 0);
  const mean = [0, 1].map((axis) => points.reduce((sum, point, n) => sum + weight[n] * point[axis], 0) / total);
  const [above, below] = points.reduce(([a, b], [x, y], n) =>
    [a + weight[n] * (x - mean[0]) * (y - mean[1]), b + weight[n] * (x - mean[0]) ** 2], [0, 0]);
  return below > 0 ? above / below : null;
}

class Chart {
  constructor(figure, chart, runs) {
    this.svg = figure.querySelector("svg");
    this.output = figure.querySelector(".readout output");
    this.choices = chart.choices;
    this.runs = runs;
    this.time = 0;
    this.select(0);
    const select = figure.querySelector("select");
    select.addEventListener("change", () => this.select(select.selectedIndex));
    const actions = { in: () => this.zoom(0.5), out: () => this.zoom(2), all: () => this.all() };
    for (const button of figure.querySelectorAll(".tools button")) {
      button.addEventListener("click", actions[button.dataset.do]);
    }
    this.svg.addEventListener("keydown", (event) => this.key(event, actions));
    this.svg.addEventListener("dblclick", () => this.all());
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", (event) => this.release(event));
    this.svg.addEventListener("pointercancel", () => this.drop());
    this.svg.addEventListener("pointerleave", () => this.tell(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  select(n) {
    this.choice = this.choices[n];
    this.view = null;
    this.draw();
  }

  /** Points of every run [[X, Y], ...] in the scale of the axes: logarithms, without what has none. */
  curves() {
    const { curves, frames, log } = this.choice;
    return curves.map((curve, run) => {
      if (!curve) return [];
      const y = frames ? curve[1][frameAt(this.runs[run].time, this.time)] : curve[1];
      const scaled = (value, axis) => (log[axis] ? Math.log10(value) : value);
      return curve[0].map((x, n) => [x, y[n]])
        .filter(([x, v]) => v !== null && (!log[0] || x > 0) && (!log[1] || v > 0))
        .map(([x, v]) => [scaled(x, 0), scaled(v, 1)]);
    });
  }

  /** Ends of both axes that show all of it; of all frames, so that nothing jumps while time goes on. */
  bounds() {
    const { curves, frames, log } = this.choice;
    const known = curves.filter(Boolean).flatMap(([x, y]) => (frames ? y : [y]).flatMap((row) => x.map((v, n) => [v, row[n]])))
      .filter(([x, y]) => y !== null && (!log[0] || x > 0) && (!log[1] || y > 0));
    return [0, 1].map((axis) => {
      const [low, high] = extent(known, (point) => (log[axis] ? Math.log10(point[axis]) : point[axis]));
      if (low > high) return [0, 1];
      const room = (high - low || Math.abs(high) || 1) * 0.04;
      return [low - room, high + room];
    });
  }

  draw() {
    const box = this.svg.getBoundingClientRect();
    if (!box.width) return;
    this.width = box.width;
    this.height = box.height;
    this.view ??= this.bounds();
    this.drawn = this.curves();
    this.svg.replaceChildren();
    this.axes();
    const [left, top] = [MARGIN.left, MARGIN.top];
    const clip = this.put("svg", { x: left, y: top, width: this.width - left - MARGIN.right,
      height: this.height - top - MARGIN.bottom, viewBox: `${left} ${top} ${this.width - left - MARGIN.right} ${this.height - top - MARGIN.bottom}` });
    clip.style.height = "auto";
    this.drawn.forEach((points, run) => {
      const path = points.map((point, n) => `${n ? "L" : "M"}${this.x(point[0]).toFixed(1)} ${this.y(point[1]).toFixed(1)}`);
      this.put("path", { class: "curve", "data-series": run, d: path.join("") }, clip);
      if (points.length === 1) {
        this.put("circle", { class: "dot", "data-series": run, cx: this.x(points[0][0]), cy: this.y(points[0][1]), r: 4 }, clip);
      }
    });
    if (!this.choice.frames) this.cursor(clip);
    this.tell(null);
  }

  axes() {
    const { log, x, y } = this.choice;
    for (const value of ticksOf(this.view[0], log[0])) {
      const place = this.x(log[0] ? Math.log10(value) : value);
      this.put("line", { class: "grid", x1: place, x2: place, y1: MARGIN.top, y2: this.height - MARGIN.bottom });
      this.put("text", { x: place, y: this.height - MARGIN.bottom + 16, "text-anchor": "middle" }).textContent = short(value);
    }
    for (const value of ticksOf(this.view[1], log[1])) {
      const place = this.y(log[1] ? Math.log10(value) : value);
      this.put("line", { class: "grid", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: place, y2: place });
      this.put("text", { x: MARGIN.left - 6, y: place + 4, "text-anchor": "end" }).textContent = short(value);
    }
    this.put("text", { x: this.width - MARGIN.right, y: this.height - 6, "text-anchor": "end" }).textContent = x;
    this.put("text", { x: 0, y: 12 }).textContent = y;
  }

  /** Where the shown time is: a line, and a dot on every curve. */
  cursor(parent) {
    parent.querySelectorAll(".now, .dot").forEach((old) => old.remove());
    const log = this.choice.log[0];
    if (log && this.time <= 0) return;
    const at = log ? Math.log10(this.time) : this.time;
    this.put("line", { class: "now", x1: this.x(at), x2: this.x(at), y1: MARGIN.top, y2: this.height - MARGIN.bottom }, parent);
    this.drawn.forEach((points, run) => {
      const last = points.findLast((point) => point[0] <= at + 1e-9);
      if (last) this.put("circle", { class: "dot", "data-series": run, cx: this.x(last[0]), cy: this.y(last[1]), r: 4 }, parent);
    });
  }

  show(t) {
    this.time = t;
    this.draw();
  }

  /** The line below: values next to a place on the x axis, or else what the part in view says as a whole. */
  tell(at) {
    const { log, fit, x } = this.choice;
    const many = this.runs.length > 1;
    const parts = this.drawn.flatMap((points, run) => {
      const name = many ? `${this.runs[run].name} ` : "";
      if (at !== null && points.length) {
        const nearest = points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best));
        const [a, b] = nearest.map((value, axis) => short(log[axis] ? 10 ** value : value));
        return [`${name}${b} at ${a}`];
      }
      const seen = points.filter((point) => point[0] >= this.view[0][0] && point[0] <= this.view[0][1]);
      const slope = at === null && fit ? slopeOf(seen) : null;
      return slope === null ? [] : [`${name}${Number(slope.toFixed(3))}`];
    });
    const what = at === null ? "slope in view" : `${this.choice.y} at a ${x}`;
    this.output.textContent = parts.length ? `${what}: ${parts.join(" · ")}` : "";
  }

  x(value) {
    return MARGIN.left + ((value - this.view[0][0]) / (this.view[0][1] - this.view[0][0])) * (this.width - MARGIN.left - MARGIN.right);
  }

  y(value) {
    const share = (value - this.view[1][0]) / (this.view[1][1] - this.view[1][0]);
    return this.height - MARGIN.bottom - share * (this.height - MARGIN.top - MARGIN.bottom);
  }

  /** The place on the axes under a pointer. */
  under(event) {
    const box = this.svg.getBoundingClientRect();
    const along = (event.clientX - box.left - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right);
    const up = 1 - (event.clientY - box.top - MARGIN.top) / (this.height - MARGIN.top - MARGIN.bottom);
    return [along, up].map((share, axis) => {
      const [low, high] = this.view[axis];
      return low + Math.max(0, Math.min(1, share)) * (high - low);
    });
  }

  press(event) {
    if (event.button) return;
    this.svg.setPointerCapture(event.pointerId);
    this.from = this.under(event);
    this.pick = this.put("rect", { class: "pick" });
  }

  move(event) {
    const here = this.under(event);
    if (!this.from) return this.tell(here[0]);
    const [[a, b], [c, d]] = this.picked(here, event);
    const [left, right, top, bottom] = [this.x(a), this.x(b), this.y(d), this.y(c)];
    for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
      this.pick.setAttribute(name, value);
    }
  }

  /** The part between press and here; all of the height for fingers, and where the drag is flat. */
  picked(here, event) {
    const spans = [0, 1].map((axis) => [this.from[axis], here[axis]].sort((a, b) => a - b));
    const flat = Math.abs(this.y(spans[1][0]) - this.y(spans[1][1])) < 12;
    if (flat || event.pointerType === "touch") spans[1] = this.view[1];
    return spans;
  }

  release(event) {
    if (!this.from) return;
    const [across, along] = this.picked(this.under(event), event);
    const wide = this.x(across[1]) - this.x(across[0]) > 6;
    this.drop();
    if (!wide) return;
    this.view = [across, along];
    this.draw();
  }

  drop() {
    this.from = null;
    this.pick?.remove();
  }

  zoom(factor) {
    this.view = this.view.map(([low, high]) => [(low + high - factor * (high - low)) / 2, (low + high + factor * (high - low)) / 2]);
    this.draw();
  }

  all() {
    this.view = null;
    this.draw();
  }

  key(event, actions) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 1], ArrowDown: [1, -1] };
    const action = { "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.all }[event.key];
    if (action) action();
    if (event.key in moves) {
      const [axis, sign] = moves[event.key];
      const step = 0.1 * sign * (this.view[axis][1] - this.view[axis][0]);
      this.view[axis] = this.view[axis].map((end) => end + step);
      this.draw();
    }
    if (action || event.key in moves) event.preventDefault();
  }

  put(name, attributes, parent = this.svg) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return parent.appendChild(element);
  }
}

/** The last frame that is not later than t. */
function frameAt(times, t) {
  const later = times.findIndex((time) => time > t * (1 + 1e-9));
  return Math.max(0, (later < 0 ? times.length : later) - 1);
}
