// A click on a point that knows its shot (customdata: run, event) goes there.
document.addEventListener("xfelflow:drawn", ({ target }) => {
  if (!("pick" in target.dataset) || target.dataset.picks) return;
  target.dataset.picks = "yes";
  target.on("plotly_click", ({ points }) => {
    const shot = points.find(point => point.customdata)?.customdata;
    if (shot) location.assign(`${target.dataset.pick}&run=${encodeURIComponent(shot[0])}&event=${shot[1]}`);
  });
});
