// Filters, sorts, and shortens the tables of the leaderboard, and shows what a mark stands for. Without it the page
// shows every entry, ranked by latency.
(function () {
  "use strict";

  const FIRST = 20; // rows of a table until its button asks for all
  const form = document.getElementById("filters");
  if (!form) return;
  const boards = [...document.querySelectorAll(".board")].map((section) => ({
    section,
    body: section.querySelector("tbody"),
    all: section.querySelector(".all"),
    open: false,
    sorted: null, // {key, sign} after a click on a heading
    rows: [...section.querySelectorAll("tbody tr")].map((row) => ({
      row,
      rank: row.querySelector(".rank"),
      group: row.querySelector(".group"),
      techniques: row.dataset.t.split(" "),
      order: row.dataset.o.split(","),
      places: row.dataset.p.split(",").map((place) => place.split("/")),
      values: row.dataset.v.split(","),
    })),
    marks: [...section.querySelectorAll("a.mark")],
  }));

  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === ""); // entries without a value come last, however one sorts
    return a - b;
  }

  function show(board, by, technique) {
    const { sorted } = board;
    board.rows.sort((a, b) => {
      if (!sorted) return compare(a.order[by], b.order[by]);
      const [x, y] = [a.values[sorted.key], b.values[sorted.key]];
      return x === "" || y === "" ? compare(x, y) : sorted.sign * (x - y);
    });
    let shown = 0, matching = 0, last = null, odd = false;
    for (const one of board.rows) {
      const [rank = "", group = ""] = one.places[by];
      one.rank.textContent = rank || "–";
      one.group.textContent = group;
      const fits = !technique || one.techniques.includes(technique);
      matching += fits;
      const visible = fits && (board.open || shown < FIRST);
      shown += visible;
      one.row.hidden = !visible;
      if (visible && group !== last) { odd = !odd; last = group; }
      one.row.classList.toggle("band", odd && group !== "" && !sorted);
    }
    board.body.append(...board.rows.map((one) => one.row));
    board.all.hidden = board.open || matching <= FIRST;
    board.all.textContent = `Show all ${matching}`;
    for (const mark of board.marks) {
      mark.classList.toggle("faint", Boolean(technique) && !mark.dataset.t.split(" ").includes(technique));
    }
    for (const heading of board.section.querySelectorAll("[data-key]")) {
      const active = sorted && sorted.key === heading.dataset.key;
      heading.setAttribute("aria-sort", !active ? "none" : sorted.sign > 0 ? "ascending" : "descending");
    }
    return matching;
  }

  function update() {
    const data = new FormData(form);
    let found = 0;
    for (const board of boards) {
      const { track, division } = board.section.dataset;
      const fits = (name, value) => !data.get(name) || data.get(name) === value;
      const matching = show(board, data.get("by"), data.get("technique"));
      board.section.hidden = !fits("track", track) || !fits("division", division) || !matching;
      if (!board.section.hidden) found += matching;
    }
    form.querySelector("output").textContent = `${found} ${found === 1 ? "entry" : "entries"}`;
  }

  for (const board of boards) {
    board.all.addEventListener("click", () => { board.open = true; update(); });
    for (const heading of board.section.querySelectorAll("[data-key]")) {
      heading.querySelector("button").addEventListener("click", () => {
        const { key } = heading.dataset;
        const first = key === "1" || heading.dataset.better === "less" ? 1 : -1; // the better end first
        const again = board.sorted && board.sorted.key === key;
        board.sorted = { key, sign: again ? -board.sorted.sign : first };
        update();
      });
    }
  }
  form.addEventListener("change", (event) => {
    if (event.target.name === "by") for (const board of boards) board.sorted = null;
    update();
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  function point(event) {
    const mark = event.target.closest(".mark");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.getAttribute("aria-label");
    const box = mark.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
    const top = box.top - tip.offsetHeight - 6;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(top < 4 ? box.bottom + 6 : top) + scrollY}px`;
  }
  document.addEventListener("pointerover", point);
  document.addEventListener("focusin", point);
  update();
})();
