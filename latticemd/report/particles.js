// Particles of one run at one of its frames: charges in colour, paths behind them; a drag turns those of all runs.

const SIDE = 960; // pixels of the canvas
const BEHIND = 12; // frames of the paths

class ParticleMap extends FieldMap {
  static all = [];

  layout() {
    this.canvas.width = this.canvas.height = SIDE;
    this.canvas.classList.add("turning");
    this.positions = new Float32Array(this.bytes.buffer);
    this.axes = this.field.axes;
    this.radius = SIDE * Math.min(0.018, 0.3 / Math.sqrt(this.field.cells));
    this.canvas.addEventListener("pointerdown", (event) => this.canvas.setPointerCapture(event.pointerId));
    ParticleMap.all.push(this);
  }

  /** A particle about the centre of the run, to the right, up and towards the viewer. */
  seen(frame, cell) {
    const start = 3 * (frame * this.field.cells + cell);
    return this.axes.map((axis) => axis.reduce((sum, part, n) => sum + part * this.positions[start + n], 0));
  }

  onCanvas([right, up]) {
    return [0.5 * SIDE * (1 + right / this.field.edge), 0.5 * SIDE * (1 - up / this.field.edge)];
  }

  draw(table) {
    this.table = table ?? this.table;
    this.drawBar();
    const context = this.canvas.getContext("2d");
    const cells = Array.from({ length: this.field.cells }, (_, cell) => cell);
    const now = cells.map((cell) => this.seen(this.frame, cell));
    this.places = now.map((place) => this.onCanvas(place));
    context.clearRect(0, 0, SIDE, SIDE);
    context.lineWidth = 2;
    context.strokeStyle = getComputedStyle(this.canvas).color;
    const first = Math.max(0, this.frame - BEHIND);
    for (let frame = first; frame < this.frame; frame++) {
      context.globalAlpha = (0.5 * (frame - first + 1)) / (this.frame - first);
      context.beginPath();
      for (const cell of cells) {
        context.moveTo(...this.onCanvas(this.seen(frame, cell)));
        context.lineTo(...this.onCanvas(this.seen(frame + 1, cell)));
      }
      context.stroke();
    }
    context.globalAlpha = 1;
    for (const cell of cells.sort((a, b) => now[a][2] - now[b][2])) {
      const depth = Math.max(-1, Math.min(1, now[cell][2] / this.field.edge));
      context.fillStyle = `rgb(${this.colourOf(this.field.charges[cell])})`;
      context.beginPath();
      context.arc(...this.places[cell], this.radius * (1 + 0.25 * depth), 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    if (this.cell !== null) this.look(this.cell);
  }

  /** A pointer reads the particle next to it; dragged, it turns all runs as if it held them in front. */
  point(event) {
    if (event.type === "pointerdown") this.held = [event.clientX, event.clientY];
    if (!event.buttons || event.type === "pointerdown") return super.point(event);
    const scale = Math.PI / this.canvas.getBoundingClientRect().width;
    this.turn(scale * (event.clientX - this.held[0]), scale * (this.held[1] - event.clientY));
    this.held = [event.clientX, event.clientY];
  }

  /** Turn what is in front to the right and up by so many radians. */
  turn(across, along) {
    const [right, up, near] = this.axes;
    const mixed = (a, b, angle) => [
      a.map((value, n) => Math.cos(angle) * value + Math.sin(angle) * b[n]),
      b.map((value, n) => Math.cos(angle) * value - Math.sin(angle) * a[n]),
    ];
    const [newRight, between] = mixed(right, near, across);
    const [newUp, newNear] = mixed(up, between, along);
    for (const map of ParticleMap.all) {
      map.axes = [newRight, newUp, newNear];
      map.draw();
    }
  }

  told(cell) {
    const start = 3 * (this.frame * this.field.cells + cell);
    const place = this.field.centre.map((middle, n) => short(middle + this.positions[start + n]));
    return `${short(this.field.charges[cell])} at (${place.join(", ")})`;
  }

  nameOf(cell) {
    return `particle ${cell}`;
  }

  key(event) {
    const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!event.shiftKey || !(event.key in turns)) return super.key(event);
    event.preventDefault();
    this.turn(...turns[event.key].map((sign) => (sign * Math.PI) / 24));
  }
}
