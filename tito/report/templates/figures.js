// Draw the figures of a page from the JSON next to them, in the colors of its style sheet. Strings such as
// "--series-1" in a key about color are names of CSS variables, so that one figure serves light and dark.
(function () {
  "use strict";

  function lookup(value, styles, coloured) {
    if (Array.isArray(value)) return value.map((item) => lookup(item, styles, coloured));
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, lookup(item, styles, /color/i.test(key))])
      );
    }
    return coloured && typeof value === "string" && value.startsWith("--")
      ? styles.getPropertyValue(value).trim()
      : value;
  }

  function themed(layout, styles) {
    const css = (name) => styles.getPropertyValue(name).trim();
    const narrow = window.innerWidth < 600;
    const axis = {
      gridcolor: css("--grid"), zerolinecolor: css("--grid"), linecolor: css("--line"),
      tickcolor: css("--line"), ticks: "outside", ticklen: 4, automargin: true,
      zeroline: false, tickfont: { size: narrow ? 11 : 12 },
    };
    const title = { standoff: 8, font: { size: 12, color: css("--muted") } };
    const whole = {
      font: { family: css("--font"), size: 12, color: css("--text") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 44, r: 16, t: 8, b: 36 },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 12 } },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--text") }, align: "left" },
      dragmode: window.matchMedia("(pointer: fine)").matches ? "zoom" : false, // a finger scrolls the page
      autosize: true,
      ...layout,
    };
    for (const name of ["xaxis", "yaxis"]) {
      const own = layout[name] || {};
      whole[name] = { ...axis, ...own, title: { ...title, ...(own.title || {}) } };
    }
    return whole;
  }

  function drawAll() {
    const styles = getComputedStyle(document.documentElement);
    for (const box of document.querySelectorAll(".drawing")) {
      const figure = JSON.parse(box.nextElementSibling.textContent);
      if (window.innerWidth < 600) {
        for (const trace of figure.data) if (trace.texttemplate) trace.textfont = { size: 8 };
      }
      Plotly.react(
        box,
        lookup(figure.data, styles, false),
        themed(lookup(figure.layout, styles, false), styles),
        { responsive: true, displayModeBar: false, displaylogo: false }
      );
    }
  }

  drawAll();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
