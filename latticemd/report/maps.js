// Maps: the order field of one run at one of its frames, drawn from a byte per site.

/** The bytes behind base64 text that zlib has packed. */
async function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** 256 colours [r, g, b] between equally spaced stops "#rrggbb". */
function colourTable(stops) {
  const rgb = stops.map((stop) => [1, 3, 5].map((n) => parseInt(stop.slice(n, n + 2), 16)));
  return Array.from({ length: 256 }, (_, n) => {
    const place = (n / 255) * (rgb.length - 1);
    const low = Math.min(Math.floor(place), rgb.length - 2);
    return rgb[low].map((value, channel) => Math.round(value + (rgb[low + 1][channel] - value) * (place - low)));
  });
}

class FieldMap {
  constructor(figure, run, bytes) {
    this.run = run;
    this.field = run.field;
    this.bytes = bytes;
    this.canvas = figure.querySelector(".field canvas");
    this.mark = figure.querySelector(".mark");
    this.output = figure.querySelector(".readout output");
    this.at = figure.querySelector(".at");
    this.facts = [...figure.querySelectorAll("[data-fact]")];
    this.bar = figure.querySelector(".bar canvas");
    figure.querySelector(".low").textContent = short(-this.field.limit);
    figure.querySelector(".high").textContent = short(this.field.limit);
    this.frame = 0;
    this.cell = null;
    this.layout();
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Size of the canvas, and for polygons the corners of every site on it. */
  layout() {
    const { kind, cells } = this.field;
    if (kind === "polygons") return this.layoutPolygons();
    this.columns = kind === "stripes" ? cells : this.field.columns;
    this.rows = kind === "stripes" ? this.run.time.length : cells / this.columns;
    this.canvas.width = this.columns;
    this.canvas.height = this.rows;
    this.canvas.classList.add("pixels");
    if (kind === "stripes") this.canvas.style.aspectRatio = "16 / 9";
  }

  layoutPolygons() {
    const { points, outlines, kinds, cells } = this.field;
    const corners = Array.from({ length: cells }, (_, n) =>
      outlines[kinds[n] ?? 0].map(([x, y]) => [x + points[2 * n], y + points[2 * n + 1]]));
    const all = corners.flat();
    const [left, right, bottom, top] = [0, 1].flatMap((axis) => extent(all, (corner) => corner[axis]));
    this.scale = 960 / (right - left);
    this.canvas.width = 960;
    this.canvas.height = Math.round((top - bottom) * this.scale);
    const placed = ([x, y]) => [(x - left) * this.scale, (top - y) * this.scale];
    this.paths = corners.map((polygon) => {
      const path = new Path2D();
      polygon.map(placed).forEach(([x, y], n) => (n ? path.lineTo(x, y) : path.moveTo(x, y)));
      path.closePath();
      return path;
    });
    this.places = Array.from({ length: cells }, (_, n) => placed([points[2 * n], points[2 * n + 1]]));
  }

  /** The value of a cell at a frame; null where it is not known. */
  value(frame, cell) {
    const level = this.bytes[frame * this.field.cells + cell];
    return level ? (level - 128) * this.field.step : null;
  }

  colour(frame, cell) {
    const value = this.value(frame, cell);
    return value === null ? null : this.colourOf(value);
  }

  colourOf(value) {
    return this.table[Math.round(127.5 * (1 + Math.max(-1, Math.min(1, value / this.field.limit))))];
  }

  drawBar() {
    const ground = this.bar.getContext("2d");
    this.table.forEach((colour, n) => {
      ground.fillStyle = `rgb(${colour})`;
      ground.fillRect(n, 0, 1, 1);
    });
  }

  draw(table) {
    this.table = table ?? this.table;
    this.drawBar();
    const context = this.canvas.getContext("2d");
    if (this.paths) {
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.paths.forEach((path, cell) => {
        const colour = this.colour(this.frame, cell);
        if (!colour) return;
        context.fillStyle = context.strokeStyle = `rgb(${colour})`;
        context.fill(path);
        context.stroke(path); // closes the seams that smooth edges leave between neighbours
      });
    } else {
      const picture = context.createImageData(this.columns, this.rows);
      for (let n = 0; n < this.columns * this.rows; n++) {
        const colour = this.colour(this.stripes ? this.rows - 1 - Math.floor(n / this.columns) : this.frame,
          this.stripes ? n % this.columns : n);
        if (colour) picture.data.set([...colour, 255], 4 * n);
      }
      context.putImageData(picture, 0, 0);
    }
  }

  get stripes() {
    return this.field.kind === "stripes";
  }

  /** Show the last frame that is not later than t. */
  show(t) {
    const later = this.run.time.findIndex((time) => time > t * (1 + 1e-9));
    const frame = Math.max(0, (later < 0 ? this.run.time.length : later) - 1);
    if (frame !== this.frame || !this.at.textContent) {
      this.frame = frame;
      if (this.table && !this.stripes) this.draw();
    }
    this.at.textContent = `t = ${short(this.run.time[frame])}, step ${this.run.step[frame]}`;
    for (const fact of this.facts) fact.textContent = short(this.run.facts[fact.dataset.fact][frame]);
    if (this.cell !== null || this.stripes) this.look(this.cell ?? 0);
  }

  point(event) {
    this.look(this.cellAt(event));
  }

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (this.places) return this.nearest(x * this.canvas.width, y * this.canvas.height);
    const column = Math.max(0, Math.min(this.columns - 1, Math.floor(x * this.columns)));
    const row = Math.max(0, Math.min(this.rows - 1, Math.floor(y * this.rows)));
    return this.stripes ? column : row * this.columns + column;
  }

  /** The cell whose place is next to a point of the canvas. */
  nearest(x, y) {
    const distance = this.places.map(([a, b]) => (a - x) ** 2 + (b - y) ** 2);
    return distance.indexOf(extent(distance)[0]);
  }

  /** Read the value of a cell aloud and mark it. */
  look(cell) {
    this.cell = cell;
    this.output.textContent = `${this.nameOf(cell)}: ${this.told(cell)}`;
    const box = [this.canvas.width, this.canvas.height];
    const [x, y] = this.places ? this.places[cell] : this.stripes
      ? [cell + 0.5, this.rows - this.frame - 0.5]
      : [(cell % this.columns) + 0.5, Math.floor(cell / this.columns) + 0.5];
    this.mark.style.left = `${(100 * x) / box[0]}%`;
    this.mark.style.top = `${(100 * y) / box[1]}%`;
    this.mark.hidden = false;
  }

  told(cell) {
    const value = this.value(this.frame, cell);
    return value === null ? "not known" : short(value);
  }

  nameOf(cell) {
    if (this.field.kind !== "pixels") return `site ${cell}`;
    const { block, sites } = this.field;
    const [x, y] = [cell % this.columns, this.rows - 1 - Math.floor(cell / this.columns)];
    if (block === 1) return `site (${x}, ${y})`;
    const end = (n, size) => Math.min((n + 1) * block, size) - 1;
    return `sites (${x * block}–${end(x, sites[0])}, ${y * block}–${end(y, sites[1])})`;
  }

  key(event) {
    const flat = this.places || this.stripes;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: flat ? 1 : -this.columns, ArrowDown: flat ? -1 : this.columns };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = (this.cell ?? 0) + (this.cell === null ? 0 : moves[event.key]);
    if (next >= 0 && next < this.field.cells) this.look(next);
  }
}
