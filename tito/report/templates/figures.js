// Draw the figures of a page from the JSON next to them, in the colors of its style sheet. Strings such as
// "--series-1" in a key about color are names of CSS variables, so that one figure serves light and dark.
// Plotly is large: it is loaded after the page has been read, and draws one figure at a time, visible ones first.
(function () {
  "use strict";

  const root = document.documentElement;
  const boxes = [...document.querySelectorAll(".drawing")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Set();

  function lookup(value, styles, colored) {
    if (Array.isArray(value)) return value.map((item) => lookup(item, styles, colored));
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, lookup(item, styles, /color/i.test(key))])
      );
    }
    return colored && typeof value === "string" && value.startsWith("--")
      ? styles.getPropertyValue(value).trim()
      : value;
  }

  function themed(layout, styles, narrow) {
    const css = (name) => styles.getPropertyValue(name).trim();
    const axis = {
      gridcolor: css("--grid"), zerolinecolor: css("--grid"), linecolor: css("--line"),
      tickcolor: css("--line"), ticks: "outside", ticklen: 4, automargin: true,
      zeroline: false, tickfont: { size: narrow ? 11 : 12 },
    };
    const title = { standoff: 8, font: { size: 12, color: css("--muted") } };
    const whole = {
      font: { family: css("--font"), size: 12, color: css("--text") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 12 } },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--text") }, align: "left" },
      dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false, // a finger scrolls the page
      autosize: true,
      ...layout,
    };
    // The names at the ends of the lines need room at the right; where there is none, a legend serves.
    const ends = (layout.annotations || []).filter((one) => one.name === "end");
    const room = Math.max(0, ...ends.map((one) => 14 + 7 * one.text.length));
    const labeled = ends.length > 0 && !narrow;
    if (ends.length) {
      whole.showlegend = !labeled;
      if (!labeled) whole.annotations = layout.annotations.filter((one) => one.name !== "end");
    }
    whole.margin = { l: 44, r: labeled ? room : 16, t: 8, b: 36, ...layout.margin };
    for (const name of ["xaxis", "yaxis"]) {
      const own = layout[name] || {};
      whole[name] = { ...axis, ...own, title: { ...title, ...(own.title || {}) } };
    }
    return whole;
  }

  function figureOf(box) {
    return JSON.parse(box.nextElementSibling.textContent);
  }

  function draw(box) {
    const styles = getComputedStyle(root);
    const figure = figureOf(box);
    const narrow = box.clientWidth < 400;
    if (narrow) for (const trace of figure.data) if (trace.texttemplate) trace.textfont = { size: 8 };
    const layout = themed(lookup(figure.layout, styles, false), styles, narrow);
    layout.width = box.clientWidth || undefined;
    Plotly.react(box, lookup(figure.data, styles, false), layout, { displayModeBar: false, displaylogo: false });
    box.classList.add("drawn");
    drawn.add(box);
  }

  const idle = window.requestIdleCallback || ((action) => setTimeout(action, 1));
  function drawNext() {
    const left = boxes.filter((box) => !drawn.has(box) && box.offsetParent);
    if (!left.length) return;
    const distance = (box) => {
      const { top, bottom } = box.getBoundingClientRect();
      return Math.max(0, top - innerHeight, -bottom);
    };
    draw(left.reduce((a, b) => (distance(b) < distance(a) ? b : a)));
    idle(drawNext, { timeout: 1000 });
  }

  function again() {
    if (window.Plotly) for (const box of drawn) if (box.offsetParent) draw(box);
  }

  function load() {
    if (!boxes.length) return;
    const script = document.createElement("script");
    const contained = document.getElementById("plotly");
    if (contained) {
      script.textContent = contained.textContent;
    } else {
      script.src = document.querySelector('meta[name="plotly"]').content;
      script.onload = drawNext;
      script.onerror = () => root.classList.add("undrawn"); // style.css shows the tables
    }
    document.head.append(script);
    if (contained) drawNext();
  }

  // The picture as a file, on white whatever the page looks like.
  async function picture(box) {
    const light = root.classList.contains("light");
    root.classList.add("light");
    const styles = getComputedStyle(root);
    const figure = figureOf(box);
    const layout = themed(lookup(figure.layout, styles, false), styles, false);
    const data = lookup(figure.data, styles, false);
    root.classList.toggle("light", light);
    layout.paper_bgcolor = layout.plot_bgcolor = "#ffffff";
    layout.font.family = "Helvetica, Arial, sans-serif";
    const [width, height] = [Math.max(640, box.clientWidth), layout.height || Math.max(360, box.clientHeight)];
    const image = await Plotly.toImage({ data, layout: { ...layout, width, height } }, { format: "svg", width, height });
    const title = tito.heading(box.parentElement);
    const text = decodeURIComponent(image.slice(image.indexOf(",") + 1));
    tito.save(`${tito.fileName(title)}.svg`, text, "image/svg+xml");
  }

  // Every value of a figure: a row for each point of a series, or for each cell of a matrix.
  function rowsOf({ data, layout }) {
    const plain = (text) => new DOMParser().parseFromString(String(text), "text/html").body.textContent;
    const title = (axis) => plain(layout[axis]?.title?.text || axis[0]);
    const rows = [];
    const matrix = data.some((trace) => trace.type === "heatmap");
    for (const trace of data) {
      const name = plain([trace.name, trace.meta].filter(Boolean).join(", ")); // the meta is the run, e.g. its seed
      if (trace.type === "heatmap") {
        const values = trace.text || trace.z;
        values.forEach((row, i) => row.forEach((value, j) => rows.push([name, trace.x[j], trace.y[i], value])));
      } else if (trace.x && trace.type !== "contour") {
        trace.x.forEach((x, i) => rows.push([name, x, trace.y[i], ...(matrix ? [""] : [])]));
      }
    }
    const known = (value) => (typeof value === "string" ? plain(value) : value);
    return [["series", title("xaxis"), title("yaxis"), ...(matrix ? ["value"] : [])], ...rows.map((row) => row.map(known))];
  }

  for (const box of boxes) {
    const title = tito.heading(box.parentElement);
    tito.tool(box.parentElement, "CSV", `Data as CSV: ${title}`, () => {
      tito.save(`${tito.fileName(title)}.csv`, tito.csv(rowsOf(figureOf(box))), "text/csv");
    });
    tito.tool(box.parentElement, "SVG", `Picture as SVG: ${title}`, () => picture(box));
  }

  tito.printing.push(() => {
    if (!window.Plotly && document.getElementById("plotly")) load();
    if (window.Plotly) for (const box of boxes) if (box.offsetParent) draw(box);
    return again;
  });

  dark.addEventListener("change", again);
  for (const fold of document.querySelectorAll("details")) fold.addEventListener("toggle", () => window.Plotly && drawNext());
  let width = innerWidth, waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(again, 150);
  });
  load();
})();
