"use strict";
// Reads the data that the page carries, draws the two graphs, and ties lines, nodes and kernels together.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") made.addEventListener("click", value);
    else if (name === "class") made.className = value;
    else made.setAttribute(name, value);
  }
  for (const child of children) if (child !== null) made.append(child);
  return made;
};
const total = data.kernels.reduce((sum, kernel) => sum + (kernel.seconds || 0), 0);
const share = (seconds) => (total ? (100 * seconds / total).toFixed(1) + "%" : "");
const micro = (seconds) => (seconds === null ? "" : (seconds * 1e6).toFixed(seconds < 1e-4 ? 2 : 1) + " µs");
const amount = (number) => {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (number >= size) return (number / size).toPrecision(3) + " " + unit;
  return String(number) + " ";
};
// Shares of a line: a kernel's time goes to its lines in equal parts.
const lineSeconds = data.lines.map(() => 0);
for (const kernel of data.kernels)
  for (const line of kernel.lines) lineSeconds[line] += (kernel.seconds || 0) / kernel.lines.length;

// --- the two graphs ---------------------------------------------------------------------------------

const COLOURS = { input: "#0f766e", shared: "#1d4ed8", constant: "#94a3b8", op: "#334155", group: "#7c3aed" };
// Above this many boxes a layout of crossing-free quality takes too long: rows by depth are drawn then.
const MOST_FOR_DAGRE = 700;

class Pane {
  constructor(key, title) {
    this.key = key;
    this.graph = data.graphs[key];
    this.open = new Set();
    this.nodes = new Map(this.graph.nodes.map((node) => [node.id, node]));
    this.canvas = make("div", { class: "canvas", id: "canvas-" + key });
    const pane = make("div", { class: "pane" },
      make("h2", {}, title, make("span", { class: "dim" }, "  " + this.graph.nodes.length + " nodes")),
      make("button", { class: "fit", click: () => this.cy.animate({ fit: { padding: 20 } }, { duration: 150 }) },
        "fit"),
      this.canvas);
    byId("graphs").append(pane);
    this.cy = cytoscape({
      container: this.canvas, minZoom: 0.02, maxZoom: 4, hideEdgesOnViewport: this.graph.nodes.length > 1500,
      textureOnViewport: this.graph.nodes.length > 1500, autoungrabify: true,
      style: [
        { selector: "node", style: { shape: "round-rectangle", width: "data(width)", height: 26, label: "data(label)",
          "font-size": 11, color: "#fff", "text-valign": "center", "text-halign": "center",
          "background-color": (node) => COLOURS[node.data("kind")] } },
        { selector: "node[kind = 'group']", style: { height: 34, "border-width": 2, "border-color": "#c4b5fd" } },
        { selector: "edge", style: { width: 1.2, "line-color": "#cbd5e1", "target-arrow-color": "#cbd5e1",
          "target-arrow-shape": "triangle", "arrow-scale": 0.7, "curve-style": "straight" } },
        { selector: ".marked", style: { "background-color": "#c2410c" } },
        { selector: "node:selected", style: { "border-width": 3, "border-color": "#f97316" } },
      ],
    });
    this.cy.on("tap", "node", (event) => this.tapped(event.target));
    this.group(this.graph.nodes.length > 60 ? "kernel" : "none");
  }

  // The box that a node is drawn in: itself, or the group it is collapsed into.
  box(id) {
    const node = this.nodes.get(id);
    const group = this.grouping === "none" ? null : node[this.grouping];
    if (group === null || group === undefined || this.open.has(group)) return id;
    return "group:" + group;
  }

  group(by) {
    this.grouping = by;
    this.open.clear();
    this.draw();
  }

  draw(keep = false) {
    const boxes = new Map();
    for (const node of this.graph.nodes) {
      const id = this.box(node.id);
      if (id === node.id) boxes.set(id, { id, label: node.label, kind: node.kind });
      else if (boxes.has(id)) boxes.get(id).count += 1;
      else boxes.set(id, { id, kind: "group", count: 1, name: this.groupName(node[this.grouping]) });
    }
    for (const box of boxes.values()) {
      if (box.kind === "group") box.label = box.name + "  (" + box.count + ")";
      box.width = Math.max(40, box.label.length * 6.4 + 16);
    }
    const edges = new Map();
    for (const [from, to] of this.graph.edges) {
      const ends = [this.box(from), this.box(to)];
      if (ends[0] !== ends[1]) edges.set(ends.join("\u0000"), ends);
    }
    const places = layout([...boxes.values()], [...edges.values()]);
    this.cy.batch(() => {
      this.cy.elements().remove();
      this.cy.add([...boxes.values()].map((box) => ({ group: "nodes", data: box, position: places.get(box.id) })));
      this.cy.add([...edges.values()].map(([source, target]) => ({ group: "edges", data: { source, target } })));
    });
    if (!keep) this.cy.fit(undefined, 20);
  }

  groupName(group) {
    if (this.grouping === "kernel") return data.kernels[group].label;
    const line = data.lines[group];
    return line.text.slice(0, 40) || line.file + ":" + line.line;
  }

  tapped(box) {
    if (box.data("kind") !== "group") return showNode(this.key, this.nodes.get(box.id()));
    const group = Number(box.id().slice(6));
    this.open.add(group);
    this.draw(true);
    if (this.grouping === "kernel") showKernel(group);
    else selectLine(group);
  }

  // Bring boxes into view, no larger than they can be read.
  show(boxes) {
    const around = boxes.boundingBox(), room = 60;
    const wide = (this.canvas.clientWidth - 2 * room) / around.w, high = (this.canvas.clientHeight - 2 * room) / around.h;
    this.cy.animate({ center: { eles: boxes }, zoom: Math.max(0.05, Math.min(1.1, wide, high)) }, { duration: 150 });
  }

  // Mark the nodes that a condition holds for, and bring them into view.
  mark(holds, fit = true) {
    this.cy.nodes(".marked").removeClass("marked");
    const ids = new Set(this.graph.nodes.filter(holds).map((node) => this.box(node.id)));
    const found = this.cy.nodes().filter((box) => ids.has(box.id()));
    found.addClass("marked");
    if (fit && found.length) this.show(found);
    return found.length;
  }
}

function layout(boxes, edges) {
  const places = new Map();
  if (boxes.length <= MOST_FOR_DAGRE) {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "TB", nodesep: 14, ranksep: 34 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const box of boxes) graph.setNode(box.id, { width: box.width, height: 34 });
    for (const [from, to] of edges) graph.setEdge(from, to);
    dagre.layout(graph);
    for (const box of boxes) places.set(box.id, { x: graph.node(box.id).x, y: graph.node(box.id).y });
    return places;
  }
  // Rows by the longest way from a start; within a row in the order of what they come from.
  const into = new Map(boxes.map((box) => [box.id, []])), out = new Map(boxes.map((box) => [box.id, []]));
  for (const [from, to] of edges) { into.get(to).push(from); out.get(from).push(to); }
  const waiting = new Map([...into].map(([id, list]) => [id, list.length])), depth = new Map();
  const ready = boxes.filter((box) => !waiting.get(box.id)).map((box) => box.id);
  for (const id of ready) depth.set(id, 0);
  for (let next = 0; next < ready.length; next++)
    for (const to of out.get(ready[next])) {
      depth.set(to, Math.max(depth.get(to) || 0, depth.get(ready[next]) + 1));
      waiting.set(to, waiting.get(to) - 1);
      if (!waiting.get(to)) ready.push(to);
    }
  const rows = [];
  for (const box of boxes) (rows[depth.get(box.id) || 0] ||= []).push(box);
  rows.forEach((row, number) => {
    const middle = (box) => {
      const xs = into.get(box.id).map((id) => places.get(id)).filter(Boolean).map((place) => place.x);
      return xs.length ? xs.reduce((a, b) => a + b) / xs.length : 0;
    };
    const order = row.map((box) => [middle(box), box]).sort((a, b) => a[0] - b[0]);
    const wide = row.reduce((sum, box) => sum + box.width + 14, 0);
    let x = (order.length ? order[order.length >> 1][0] : 0) - wide / 2;
    for (const [, box] of order) {
      places.set(box.id, { x: x + box.width / 2, y: number * 60 });
      x += box.width + 14;
    }
  });
  return places;
}

// --- details ----------------------------------------------------------------------------------------

const details = byId("details");
const facts = (pairs) => {
  const list = make("dl");
  for (const [name, value] of pairs)
    if (value !== null && value !== "") list.append(make("dt", {}, name), make("dd", {}, value));
  return list;
};
const lineLink = (number) => {
  if (number === null) return null;
  const line = data.lines[number];
  return make("a", { click: () => selectLine(number) }, line.file.split("/").pop() + ":" + line.line + "  " + line.text);
};
const kernelLink = (number) => {
  const kernel = data.kernels[number];
  return make("a", { class: "kernel-link", click: () => showKernel(number) },
    kernel.name + (total ? "  " + micro(kernel.seconds) + ", " + share(kernel.seconds) : ""));
};
const list = (items) => make("div", {}, ...items.map((item) => make("div", {}, item)));

function showNode(key, node) {
  details.replaceChildren(make("h3", {}, node.op || node.label), facts([
    ["what", node.kind], ["type", node.type], ["shape", node.shape], ["line", lineLink(node.line)],
  ]));
  if (node.kernels.length)
    details.append(make("h4", {}, "runs in"), list(node.kernels.map(kernelLink)));
  if (node.rules.length)
    details.append(make("h4", {}, "rules that touched it"),
      list(node.rules.map((rule) => rule.name + ": " + rule.reason)));
  if (node.fate) details.append(make("h4", {}, "what became of it"), make("div", {}, node.fate));
}

function showKernel(number) {
  const kernel = data.kernels[number];
  panes.forEach((pane) => pane.mark((node) => node.kernels.includes(number)));
  details.replaceChildren(make("h3", {}, kernel.name), facts([
    ["time", total ? micro(kernel.seconds) + " a call of the function, " + share(kernel.seconds) : "not profiled"],
    ["runs", String(kernel.calls) + (kernel.calls === 1 ? " time a call" : " times a call")],
    ["computes", amount(kernel.flops) + "FLOP"], ["moves", amount(kernel.bytes) + "B"],
    ["threads", kernel.threads],
    ["ops", kernel.ops.join(", ")], ["lines", list(kernel.lines.map(lineLink))],
  ]));
  const pre = make("pre");
  const buttons = kernel.texts.map(([name, text]) => make("button", { click: (event) => {
    pre.textContent = text;
    buttons.forEach((button) => button.classList.toggle("on", button === event.target));
  } }, name));
  details.append(make("h4", {}, ...buttons), pre);
  buttons[0].click();
}

function selectLine(number) {
  document.querySelectorAll(".line").forEach((each) => each.classList.toggle("on", each.dataset.line === String(number)));
  panes.forEach((pane) => pane.mark((node) => node.line === number));
  const line = data.lines[number];
  const kernels = data.kernels.map((kernel, place) => [kernel, place]).filter(([kernel]) => kernel.lines.includes(number));
  details.replaceChildren(make("h3", {}, line.text || "a line"), facts([["where", line.file + ":" + line.line]]),
    make("h4", {}, "ends in these kernels"), list(kernels.map(([, place]) => kernelLink(place))));
  if (line.explanation) details.append(make("h4", {}, "what became of it"), make("pre", {}, line.explanation));
}

// --- lines, sheets, search --------------------------------------------------------------------------

data.lines.map((line, number) => [line, number]).sort((a, b) => lineSeconds[b[1]] - lineSeconds[a[1]])
  .forEach(([line, number]) => {
    const bar = make("div", { class: "bar" });
    bar.style.width = (total ? 100 * lineSeconds[number] / total : 0) + "%";
    const entry = make("div", { class: "line", title: line.file + ":" + line.line, click: () => selectLine(number) },
      make("span", { class: "share" }, share(lineSeconds[number])),
      make("span", { class: "dim" }, line.file.split("/").pop() + ":" + line.line), make("code", {}, line.text), bar);
    entry.dataset.line = number;
    byId("lines").append(entry);
  });

function table(columns, rows) {
  const head = make("tr", {}, ...columns.map(([name, number]) => make("th", { class: number ? "number" : "" }, name)));
  return make("table", {}, head, ...rows.map(({ cells, click }) => make("tr", click ? { class: "go", click } : {},
    ...cells.map((cell, place) => make("td", { class: columns[place][1] ? "number" : "" }, cell)))));
}

const SHEETS = {
  kernels: () => {
    const rows = data.kernels.map((kernel, number) => ({ kernel, number }));
    rows.sort((a, b) => (b.kernel.seconds || 0) - (a.kernel.seconds || 0) || b.kernel.bytes - a.kernel.bytes);
    return table([["kernel"], ["time", 1], ["share", 1], ["runs", 1], ["FLOP", 1], ["bytes", 1], ["GFLOP/s", 1],
      ["GB/s", 1], ["ops"]], rows.map(({ kernel, number }) => ({ click: () => showKernel(number), cells: [
      kernel.name, micro(kernel.seconds), share(kernel.seconds), String(kernel.calls), amount(kernel.flops),
      amount(kernel.bytes), kernel.seconds ? (kernel.flops / kernel.seconds / 1e9).toFixed(1) : "",
      kernel.seconds ? (kernel.bytes / kernel.seconds / 1e9).toFixed(1) : "", kernel.ops.slice(0, 6).join(", "),
    ] })));
  },
  memory: () => {
    const plan = data.memory, width = 1100, height = 170, steps = plan.steps.length || 1;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height + 16}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("style", "width:100%;height:145px");
    plan.buffers.forEach((buffer, number) => {
      const box = document.createElementNS(svg.namespaceURI, "rect");
      const tall = Math.max(0.5, buffer.bytes / (plan.arena || 1) * height);
      box.setAttribute("x", buffer.first / steps * width);
      box.setAttribute("width", Math.max(1.5, (buffer.last - buffer.first + 1) / steps * width - 0.5));
      box.setAttribute("y", height - buffer.offset / (plan.arena || 1) * height - tall);
      box.setAttribute("height", tall);
      box.setAttribute("fill", `hsl(${number * 47 % 360} 55% 62%)`);
      const title = document.createElementNS(svg.namespaceURI, "title");
      title.textContent = `${buffer.name}: ${amount(buffer.bytes)}B at ${buffer.offset}, from step ` +
        `${buffer.first} (${plan.steps[buffer.first]}) to ${buffer.last} (${plan.steps[buffer.last]})`;
      box.append(title);
      svg.append(box);
    });
    const own = plan.buffers.reduce((sum, buffer) => sum + buffer.bytes, 0);
    return make("div", {}, make("div", { class: "dim" }, `The arena over the steps of a call: ${amount(plan.arena)}B for ` +
      `${plan.buffers.length} buffers of ${amount(own)}B together.`), svg);
  },
  rewriting: () => table([["pass"], ["nodes", 1], ["after", 1], ["ms", 1], ["rules"], ["what it does"]],
    data.passes.map((pass) => ({ cells: [pass.name, String(pass.before), String(pass.after),
      (pass.seconds * 1e3).toFixed(1), pass.rules.map(([name, count]) => `${name} ${count}`).join(", ").slice(0, 110),
      pass.sentence] }))),
};
for (const name of Object.keys(SHEETS))
  byId("tabs").append(make("button", { id: "tab-" + name, click: (event) => {
    byId("sheet").replaceChildren(SHEETS[name]());
    for (const button of byId("tabs").children) button.classList.toggle("on", button === event.target);
  } }, name));

function search(text) {
  const wanted = text.trim().toLowerCase();
  const holds = (node) => wanted !== "" && node.search.includes(wanted);
  const found = panes.reduce((sum, pane) => sum + pane.mark(holds), 0);
  byId("found").textContent = wanted ? found + " found" : "";
  document.querySelectorAll(".line").forEach((each) => {
    const line = data.lines[each.dataset.line];
    each.style.display = !wanted || (line.text + line.file + ":" + line.line).toLowerCase().includes(wanted) ? "" : "none";
  });
}

byId("title").textContent = data.name;
byId("summary").textContent = data.summary;
const panes = [new Pane("user", "as written"), new Pane("rewritten", "rewritten")];
byId("search").addEventListener("input", (event) => search(event.target.value));
byId("grouping").addEventListener("change", (event) => panes.forEach((pane) => pane.group(event.target.value)));
byId("grouping").value = panes[1].grouping;
byId("tab-kernels").click();
