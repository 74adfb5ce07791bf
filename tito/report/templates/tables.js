// Tables: sorting by a click or a key on a heading, and CSV. A cell's value is its number with its unit.
(function () {
  "use strict";

  const UNITS = {
    ns: [1e-9, "s"], "µs": [1e-6, "s"], ms: [1e-3, "s"], s: [1, "s"], min: [60, "s"], h: [3600, "s"],
    B: [1, "bytes"], kB: [1e3, "bytes"], MB: [1e6, "bytes"], GB: [1e9, "bytes"],
    "": [1, ""], k: [1e3, ""], M: [1e6, ""], G: [1e9, ""], "%": [0.01, "share"], "×": [1, "times"],
    "/s": [1, "per s"], "k/s": [1e3, "per s"], "M/s": [1e6, "per s"],
  };
  const NUMBER = /^[<>≤≥~±]?\s?([+\-−]?\d[\d,\u202f\u2009\u00a0]*(?:\.\d+)?(?:e[+\-−]?\d+)?)\s*([^\s\d(±]*)/i;
  const EMPTY = new Set(["", "–", "—"]);
  const order = new Intl.Collator(undefined, { numeric: true }).compare;

  function textOf(cell) {
    const copy = cell.cloneNode(true);
    for (const small of copy.querySelectorAll("small, .below, .tip, [aria-hidden]")) small.remove();
    return copy.textContent.trim();
  }

  // [number in the base unit, base unit], or null for a text.
  function valueOf(text) {
    const found = NUMBER.exec(text);
    const unit = found && UNITS[found[2]];
    if (!unit) return null;
    const number = Number(found[1].replace(/[,\u202f\u2009\u00a0]/g, "").replaceAll("−", "-"));
    return isNaN(number) ? null : [Number((number * unit[0]).toPrecision(12)), unit[1]];
  }

  function cellAt(row, column) {
    const cell = row.cells[column];
    return cell && cell.colSpan === 1 ? cell : null;
  }

  // The values of a column, and whether they are numbers of one kind. Numbers without a unit go with any unit.
  function columnOf(rows, column) {
    const texts = rows.map((row) => { const cell = cellAt(row, column); return cell ? textOf(cell) : ""; });
    const values = texts.map((text) => (EMPTY.has(text) ? undefined : valueOf(text)));
    const there = values.filter((value) => value !== undefined);
    const kinds = new Set(there.filter(Boolean).map((value) => value[1]));
    const numeric = there.length > 0 && there.every(Boolean) && kinds.size === 1;
    return { texts, values, numeric, unit: numeric ? [...kinds][0] : "" };
  }

  // Rows that move: each with the remark below it. Rows with the heading of a group stay where they are.
  function groupsOf(table) {
    const groups = [];
    for (const body of table.tBodies) {
      let group = { body, before: null, rows: [] };
      groups.push(group);
      for (const row of body.rows) {
        if (row.classList.contains("case")) groups.push(group = { body, before: row, rows: [] });
        else if (row.classList.contains("remark") && group.rows.length) group.rows.at(-1).push(row);
        else group.rows.push([row]);
      }
    }
    return groups;
  }

  function sort(table, column, sign) {
    for (const { body, before, rows } of groupsOf(table)) {
      const { texts, values, numeric } = columnOf(rows.map((row) => row[0]), column);
      const places = rows.map((_, i) => i).sort((a, b) => {
        if (EMPTY.has(texts[a]) || EMPTY.has(texts[b])) return EMPTY.has(texts[a]) - EMPTY.has(texts[b]) || a - b;
        return sign * (numeric ? values[a][0] - values[b][0] : order(texts[a], texts[b])) || a - b;
      });
      let last = before;
      for (const i of places) for (const row of rows[i]) {
        if (last) last.after(row); else body.prepend(row);
        last = row;
      }
    }
  }

  function rowsOf(table) {
    const heads = [...table.tHead.rows[0].cells];
    const groups = groupsOf(table).filter((group) => group.rows.length);
    const rows = groups.flatMap((group) => group.rows.map((row) => row[0]));
    const named = groups.some((group) => group.before);
    const columns = heads.map((_, column) => columnOf(rows, column));
    const names = heads.map((head, i) => textOf(head) + (columns[i].unit ? ` [${columns[i].unit}]` : ""));
    const cells = rows.map((_, at) => columns.map(({ texts, values, numeric }) => {
      if (EMPTY.has(texts[at])) return "";
      return numeric ? values[at][0] : texts[at].replace(/[\u202f\u2009\u00a0]/g, " ").replace(/\s+/g, " ");
    }));
    if (!named) return [names, ...cells];
    const cases = groups.flatMap((group) => group.rows.map(() => (group.before ? textOf(group.before) : "")));
    return [["case", ...names], ...cells.map((row, at) => [cases[at], ...row])];
  }

  tito.saveTable = (table, title) => {
    tito.save(`${tito.fileName(title)}.csv`, tito.csv(rowsOf(table)), "text/csv");
  };

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    for (const [column, head] of heads.entries()) {
      if (!head.textContent.trim()) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.removeAttribute("tabindex"); // the button has its place in the order of the Tab key
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        sort(table, column, sign);
      });
    }
  }

  for (const table of document.querySelectorAll("main table")) {
    if (!table.tHead || !table.tHead.rows.length || table.closest(".lesson, [data-plain]")) continue;
    const rows = [...table.tBodies].reduce((count, body) => count + body.rows.length, 0);
    if (rows > 1 && !table.querySelector("th[data-key]")) makeSortable(table);
    const region = table.closest(".scroll") || table;
    const place = region.closest("figure") || region.parentElement;
    const title = region.closest(".data") ? tito.heading(place) : table.dataset.title || tito.heading(place);
    if (region.closest("figure > .data") && place.querySelector(".drawing")) continue; // the figure's own CSV is complete
    tito.tool(place, "CSV", `Data as CSV: ${title}`, () => tito.saveTable(table, title));
  }
})();
