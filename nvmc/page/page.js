// Draws the charts, lets readers choose what they show, filters tables, saves SVG files.
// No text of the page is ever read as HTML or as code: charts run Vega's interpreter.
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const views = {};

  // Nothing may be loaded: a chart that asks for a file gets none.
  const nothing = () => Promise.reject(new Error("charts of a report load no files"));
  const loader = { load: nothing, sanitize: nothing, http: nothing, file: nothing };

  const chosen = (name, param) => {
    const boxes = all(`input[data-of="${name}"][data-param="${param}"]`);
    return boxes.filter((box) => box.checked).map((box) => Number(box.value));
  };

  const draw = async (figure) => {
    const name = figure.dataset.chart;
    const place = document.getElementById(`chart-${name}`);
    const spec = JSON.parse(document.getElementById(`data-${name}`).textContent);
    try {
      const drawn = await vegaEmbed(place, spec, {
        mode: "vega-lite", renderer: "svg", actions: false, ast: true, loader,
        tooltip: { theme: "custom" },
      });
      views[name] = drawn.view;
      all(`[data-svg="${name}"]`).forEach((button) => { button.hidden = false; });
    } catch (error) {
      place.textContent = `This chart could not be drawn (${error.message}); its table has the data.`;
      figure.classList.add("failed");
    }
  };

  const listen = (control) => {
    const { of, param } = control.dataset;
    control.addEventListener("change", () => {
      const several = control.type === "checkbox";
      const value = several ? chosen(of, param) : Number(control.value);
      if (views[of]) views[of].signal(param, value).runAsync();
    });
  };

  const save = (button) => button.addEventListener("click", async () => {
    const name = button.dataset.svg;
    const text = await views[name].toSVG();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    link.download = `${name}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  const filter = (box) => {
    const rows = all("tbody tr", document.getElementById(box.dataset.filter));
    const told = box.closest("p").querySelector("output");
    const texts = rows.map((row) => row.textContent.toLowerCase());
    box.addEventListener("input", () => {
      const wanted = box.value.trim().toLowerCase();
      let seen = 0;
      rows.forEach((row, i) => {
        row.hidden = !texts[i].includes(wanted);
        seen += row.hidden ? 0 : 1;
      });
      told.textContent = `${seen} of ${rows.length} rows`;
    });
  };

  // A chart keeps its width on the screen; on paper it is as wide as the paper lets it be.
  all(".control").forEach((control) => { control.hidden = false; });
  all("[data-param]").forEach(listen);
  all("[data-svg]").forEach(save);
  all("[data-filter]").forEach(filter);
  const started = all("figure[data-chart]").map(draw);
  Promise.all(started).then(() => { document.documentElement.dataset.charts = "drawn"; });
})();
