// What every page does: copying, scrolling regions, files to save, and printing. Other scripts use `tito`.
window.tito = (function () {
  "use strict";

  const root = document.documentElement;
  const printing = []; // functions that prepare for print and return how to undo it

  function save(name, text, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // RFC 4180. A text that a spreadsheet would run as a formula gets an apostrophe.
  function csv(rows) {
    const quote = (value) => {
      let text = String(value ?? "");
      if (typeof value === "string" && /^[=+@\-\t\r]/.test(text) && isNaN(text)) text = `'${text}`;
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(quote).join(",") + "\r\n").join("");
  }

  // The page's name and a title as the name of a file: mnist-loss-by-epoch.
  function fileName(title) {
    const page = location.pathname.split("/").pop().replace(/\.html$/, "");
    const words = `${page} ${title}`.normalize("NFKD").toLowerCase().match(/[\p{L}\p{N}]+/gu) || ["figure"];
    return words.join("-").slice(0, 120);
  }

  // A button below a figure or a table.
  function tool(place, label, says, action) {
    let box = place.querySelector(":scope > .tools");
    if (!box) {
      box = document.createElement("p");
      box.className = "tools";
      place.append(box);
    }
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-label", says);
    button.addEventListener("click", () => action(button));
    box.append(button);
    return button;
  }

  function heading(place) {
    const named = place.querySelector("h3, h2");
    return named ? named.textContent.trim() : document.title;
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // no clipboard here: leave it selected, ready for the keys
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button));
  }

  // A region that fits takes no part in the order of the Tab key.
  function measure(region) {
    if (region.scrollWidth > region.clientWidth + 1 || region.scrollHeight > region.clientHeight + 1) {
      region.tabIndex = 0;
      if (!region.hasAttribute("aria-label")) region.setAttribute("aria-label", label(region));
      region.setAttribute("role", region.matches(".scroll") ? "region" : "group");
    } else {
      region.removeAttribute("tabindex");
      region.removeAttribute("role");
      if (!region.matches(".scroll")) region.removeAttribute("aria-label"); // it has no role that may have one
    }
  }

  // The heading before a region, for one whose template states no label.
  function label(region) {
    const place = region.closest("figure, section, article") || document;
    const before = [...place.querySelectorAll("h1, h2, h3")].filter((one) => one.compareDocumentPosition(region) & 4);
    return before.length ? before.at(-1).textContent.trim() : document.title;
  }

  const sizes = new ResizeObserver((entries) => entries.forEach((entry) => measure(entry.target)));
  for (const region of document.querySelectorAll(".scroll, pre, .command code")) {
    sizes.observe(region);
  }

  // The table of a figure's data, hidden until its button is pressed.
  for (const data of document.querySelectorAll("figure > .data")) {
    const figure = data.parentElement;
    const button = tool(figure, "Table", `Table of the data: ${heading(figure)}`, () => {
      button.setAttribute("aria-expanded", String(data.classList.toggle("shown")));
    });
    button.setAttribute("aria-expanded", "false");
  }

  // In a page that stands alone, files are texts in it.
  for (const link of document.querySelectorAll("a[data-embedded]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      save(link.download, document.getElementById(link.dataset.embedded).textContent, "application/json");
    });
  }

  let undo = [];
  function beforePrint() {
    if (undo.length) return;
    root.classList.add("light", "printing");
    const folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
    undo = [() => folded.forEach((one) => { one.open = false; }), ...printing.map((prepare) => prepare())];
  }
  function afterPrint() {
    root.classList.remove("light", "printing");
    for (const one of undo.splice(0)) one();
  }
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);

  return { save, csv, fileName, tool, heading, printing };
})();
