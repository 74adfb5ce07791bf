// Small pictures as files: their pixels or values as CSV, all of them as one SVG.
(function () {
  "use strict";

  const SIDE = 96, GAP = 12, LINE = 16, COLUMNS = 10;

  function pixels(image) {
    const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  function pixelRows(images) {
    const all = images.map((image) => [image.alt, pixels(image)]);
    const gray = all.every(([, { data }]) => data.every((value, i) => i % 4 === 3 || value === data[i - (i % 4)]));
    const rows = [];
    for (const [name, { data, width }] of all) {
      for (let i = 0; i < data.length; i += 4) {
        const place = [name, Math.floor(i / 4 / width), (i / 4) % width];
        rows.push([...place, ...(gray ? [data[i]] : data.slice(i, i + 3))]);
      }
    }
    return [["picture", "row", "column", ...(gray ? ["value"] : ["red", "green", "blue"])], ...rows];
  }

  function valueRows(images, matrices) {
    const cells = (matrix, name) => matrix.flatMap((row, y) => row.map((value, x) => [name, y, x, value]));
    return [["picture", "row", "column", "value"], ...images.flatMap((image, i) => cells(matrices[i], image.alt))];
  }

  function picture(images) {
    const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
    const columns = Math.min(COLUMNS, images.length);
    const tallest = Math.max(...images.map((image) => SIDE * image.naturalHeight / image.naturalWidth));
    const step = tallest + LINE + GAP;
    const parts = images.map((image, i) => {
      const [x, y] = [(i % columns) * (SIDE + GAP), Math.floor(i / columns) * step];
      const height = SIDE * image.naturalHeight / image.naturalWidth;
      const shown = image.alt.length > 16 ? `${image.alt.slice(0, 15)}…` : image.alt;
      return `<g transform="translate(${x} ${y})"><title>${escape(image.alt)}</title>`
        + `<image href="${image.src}" width="${SIDE}" height="${height}" preserveAspectRatio="none" style="image-rendering:pixelated"/>`
        + `<text y="${height + LINE - 3}">${escape(shown)}</text></g>`;
    });
    const [width, height] = [columns * (SIDE + GAP) - GAP, Math.ceil(images.length / columns) * step];
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, sans-serif" font-size="10">`
      + `<rect width="${width}" height="${height}" fill="#fff"/>${parts.join("")}</svg>\n`;
  }

  for (const figure of document.querySelectorAll(".is-images")) {
    const images = [...figure.querySelectorAll(".image img")];
    const title = tito.heading(figure);
    const name = (ending) => `${tito.fileName(title)}.${ending}`;
    const values = figure.querySelector("script.values");
    if (values || !figure.querySelector(".scale")) { // a heatmap's pixels are not its values
      tito.tool(figure, "CSV", `Data as CSV: ${title}`, () => {
        const rows = values ? valueRows(images, JSON.parse(values.textContent)) : pixelRows(images);
        tito.save(name("csv"), tito.csv(rows), "text/csv");
      });
    }
    tito.tool(figure, "SVG", `Picture as SVG: ${title}`, () => tito.save(name("svg"), picture(images), "image/svg+xml"));
  }
})();
