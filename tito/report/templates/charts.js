// The charts that are drawn without a script, as SVG files: grid, lines, and marks as the page shows them.
(function () {
  "use strict";

  const LEFT = 76, TOP = 34, RIGHT = 24, BOTTOM = 62;
  const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const share = (node, side) => parseFloat(node.style[side]) / 100;

  function text(x, y, words, anchor) {
    return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="#5c6168">${escape(words)}</text>`;
  }

  function look(node) {
    const { fill, stroke, strokeWidth, opacity } = getComputedStyle(node);
    return `fill="${fill}" stroke="${stroke}" stroke-width="${strokeWidth}" opacity="${opacity}"`;
  }

  function mark(node, width, height) {
    const symbol = document.querySelector(node.querySelector("use").getAttribute("href"));
    if (!symbol) return "";
    const place = `translate(${share(node, "left") * width - 8} ${share(node, "top") * height - 8})`;
    const says = `<title>${escape(node.getAttribute("aria-label"))}</title>`;
    return `<g transform="${place}" ${look(node.querySelector("svg"))}>${says}${symbol.innerHTML}</g>`;
  }

  function picture(chart) {
    const plane = chart.querySelector(".plane");
    const [width, height] = [plane.clientWidth, plane.clientHeight];
    const parts = [];
    for (const line of plane.querySelectorAll("i.h")) {
      const y = share(line, "top") * height;
      parts.push(`<path d="M0 ${y}H${width}" stroke="#ecece8"/>`, text(-8, y + 4, line.textContent, "end"));
    }
    for (const line of plane.querySelectorAll("i.v")) {
      const x = share(line, "left") * width;
      parts.push(`<path d="M${x} 0V${height}" stroke="#ecece8"/>`, text(x, height + 20, line.textContent, "middle"));
    }
    for (const path of plane.querySelectorAll("path:not(symbol path)")) {
      const scale = `scale(${width / 1000} ${height / 1000})`;
      parts.push(`<path d="${path.getAttribute("d")}" transform="${scale}" vector-effect="non-scaling-stroke" ${look(path)}/>`);
    }
    for (const node of plane.querySelectorAll(".mark")) parts.push(mark(node, width, height));
    parts.push(text(-LEFT + 10, -16, chart.querySelector(".up").textContent, "start"));
    parts.push(text(width / 2, height + 46, chart.querySelector(".along").textContent, "middle"));
    const [wide, tall] = [width + LEFT + RIGHT, height + TOP + BOTTOM];
    const frame = `<path d="M0 0V${height}H${width}" fill="none" stroke="#9a9a94"/>`;
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${tall}" font-family="Helvetica, Arial, sans-serif" font-size="12">`
      + `<rect width="${wide}" height="${tall}" fill="#fff"/><g transform="translate(${LEFT} ${TOP})">${frame}${parts.join("")}</g></svg>\n`;
  }

  for (const chart of document.querySelectorAll("figure .chart")) {
    const figure = chart.closest("figure");
    const title = chart.getAttribute("aria-label");
    const table = figure.parentElement.querySelector(":scope > .scroll > table");
    if (table && !figure.querySelector(".data")) tito.tool(figure, "CSV", `Data as CSV: ${title}`, () => tito.saveTable(table, title));
    tito.tool(figure, "SVG", `Picture as SVG: ${title}`, () => {
      document.documentElement.classList.add("light");
      const drawn = picture(chart);
      document.documentElement.classList.remove("light");
      tito.save(`${tito.fileName(title)}.svg`, drawn, "image/svg+xml");
    });
  }
})();
