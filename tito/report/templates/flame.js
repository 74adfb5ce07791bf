// The flame graph: a chosen box becomes as wide as the graph, a search marks boxes, arrow keys move between them.
(function () {
  "use strict";

  const HEIGHT = 23;
  const COLORS = { root: "#d8dde3", own: "#a9c9e8", numpy: "#f0cfae", other: "#e6e6e2" };

  function start(graph) {
    const figure = graph.parentElement;
    const boxes = [...graph.children].map((node) => {
      const left = parseFloat(node.style.left), width = parseFloat(node.style.width);
      const depth = Number(node.getAttribute("aria-level")) - 1;
      return { node, left, right: left + width, depth, title: node.title, samples: Number(/, (\d+) samples/.exec(node.title)[1]) };
    });
    const [all] = boxes;
    const within = (one, other) => one.left >= other.left - 1e-3 && one.right <= other.right + 1e-3;
    const parent = (one) => boxes.find((box) => box.depth === one.depth - 1 && within(one, box));
    let chosen = all, current = all;

    function zoom(to) {
      chosen = to;
      const scale = 100 / (to.right - to.left);
      for (const box of boxes) {
        const above = box.depth < to.depth && within(to, box);
        box.node.hidden = !above && !within(box, to);
        box.node.classList.toggle("above", above);
        box.node.style.left = above ? "0%" : `${(box.left - to.left) * scale}%`;
        box.node.style.width = above ? "100%" : `${(box.right - box.left) * scale}%`;
      }
      reset.hidden = to === all;
    }

    function go(to) {
      if (!to) return;
      current.node.tabIndex = -1;
      current = to;
      if (to.node.hidden) zoom(parent(to) || all);
      to.node.tabIndex = 0;
      to.node.focus();
    }

    function beside(one, sign) {
      const row = boxes.filter((box) => box.depth === one.depth && !box.node.hidden).sort((a, b) => a.left - b.left);
      return row[row.indexOf(one) + sign];
    }

    const keys = {
      ArrowUp: () => go(parent(current)),
      ArrowDown: () => go(boxes.filter((box) => box.depth === current.depth + 1 && within(box, current) && !box.node.hidden)
        .sort((a, b) => a.left - b.left)[0]),
      ArrowLeft: () => go(beside(current, -1)),
      ArrowRight: () => go(beside(current, 1)),
      Enter: () => zoom(current),
      " ": () => zoom(current),
      Escape: () => zoom(all),
      Home: () => go(all),
    };
    graph.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    graph.addEventListener("click", (event) => {
      const box = boxes.find(({ node }) => node === event.target.closest("[role=treeitem]"));
      if (!box) return;
      go(box);
      zoom(box === chosen && parent(box) ? parent(box) : box);
    });

    const bar = document.createElement("p");
    bar.className = "search";
    const field = Object.assign(document.createElement("input"), { type: "search", placeholder: "Search functions and files" });
    field.setAttribute("aria-label", `Search in: ${tito.heading(figure)}`);
    const reset = Object.assign(document.createElement("button"), { type: "button", textContent: "Show all", hidden: true });
    const says = document.createElement("output");
    bar.append(field, reset, says);
    graph.before(bar);
    reset.addEventListener("click", () => { zoom(all); go(all); });
    field.addEventListener("input", () => {
      const text = field.value.trim().toLowerCase();
      const hits = boxes.filter((box) => box !== all && text && box.node.textContent.toLowerCase().includes(text));
      for (const box of boxes) box.node.classList.toggle("hit", hits.includes(box));
      graph.classList.toggle("searched", text !== "");
      // A hit below another hit is part of it and counts once.
      const outer = hits.filter((box) => !hits.some((other) => other.depth < box.depth && within(box, other)));
      const samples = outer.reduce((sum, box) => sum + box.samples, 0);
      says.textContent = text ? `${hits.length} ${hits.length === 1 ? "box" : "boxes"}, ${(100 * samples / all.samples).toFixed(1)} % of the time` : "";
    });

    for (const box of boxes) box.node.tabIndex = -1;
    all.node.tabIndex = 0;

    const title = tito.heading(figure);
    const name = (ending) => `${tito.fileName(title)}.${ending}`;
    tito.tool(figure, "SVG", `Picture as SVG: ${title}`, () => tito.save(name("svg"), picture(boxes), "image/svg+xml"));
    tito.printing.push(() => { const was = chosen; zoom(all); return () => zoom(was); });
  }

  function picture(boxes) {
    const width = 1200, bottom = HEIGHT * (1 + Math.max(...boxes.map((box) => box.depth)));
    const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
    const parts = boxes.map((box) => {
      const x = box.left / 100 * width, wide = (box.right - box.left) / 100 * width, y = box.depth * HEIGHT;
      const fits = Math.floor((wide - 8) / 6.6), text = box.node.textContent;
      const shown = fits < 3 ? "" : text.length > fits ? `${text.slice(0, fits - 1)}…` : text;
      const label = shown ? `<text x="${(x + 4).toFixed(1)}" y="${y + 15}">${escape(shown)}</text>` : "";
      const color = COLORS[box.node.classList[0]];
      return `<g><title>${escape(box.title)}</title><rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(wide, 0.5).toFixed(1)}" height="${HEIGHT - 1}" fill="${color}" stroke="#fff"/>${label}</g>`;
    });
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom}" font-family="Helvetica, Arial, sans-serif" font-size="12">${parts.join("")}</svg>\n`;
  }

  for (const graph of document.querySelectorAll(".flame")) start(graph);
})();
