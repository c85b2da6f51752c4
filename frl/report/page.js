// Reading a chart: the nearest point of each curve under the pointer replaces the legend.
for (const svg of document.querySelectorAll("svg[data-readings]")) {
  const readings = JSON.parse(svg.dataset.readings);
  const legend = svg.parentElement.querySelector(".legend");
  const before = legend.innerHTML;
  const dots = readings.x.map(() => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("class", "dot");
    dot.setAttribute("r", 3);
    dot.setAttribute("visibility", "hidden");
    return svg.appendChild(dot);
  });
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const words = readings.x.map((xs, i) => {
      let best = 0;
      xs.forEach((x, j) => { if (Math.abs(x - at) < Math.abs(xs[best] - at)) best = j; });
      dots[i].setAttribute("cx", xs[best]);
      dots[i].setAttribute("cy", readings.y[i][best]);
      dots[i].setAttribute("visibility", "visible");
      return readings.text[i][best];
    });
    legend.textContent = words.join("   ");
  });
  svg.addEventListener("pointerleave", () => {
    legend.innerHTML = before;
    dots.forEach((dot) => dot.setAttribute("visibility", "hidden"));
  });
}
