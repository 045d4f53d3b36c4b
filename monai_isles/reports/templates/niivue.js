{
  const facts = JSON.parse(document.getElementById("niivue-data").textContent), frame = document.getElementById("niivue");
  const find = id => document.getElementById(id), viewer = new niivue.Niivue({
    backColor: [0, 0, 0, 1], isRadiologicalConvention: true, isColorbar: true, show3Dcrosshair: true, isCornerOrientationText: true, fontColor: [1, 0.75, 0, 1], loadingText: "", logLevel: "error",
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER, multiplanarLayout: niivue.MULTIPLANAR_TYPE.ROW, dragAndDropEnabled: false, isResizeCanvas: true,
  });
  const hex = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
  const load = (one, colormap, low, high, opacity, bar) => niivue.NVImage.loadFromBase64({
    base64: one.base64, name: `${one.key ?? one.name}.nii.gz`, colormap, opacity, cal_min: low, cal_max: high, colorbarVisible: bar,
  });
  let marks = [], shown = [];
  async function show() {
    for (const volume of [...viewer.volumes]) viewer.removeVolume(volume);
    const chosen = [Number(find("plane-image").value), Number(find("plane-over").value)].filter(n => n >= 0);
    shown = [];
    for (const [place, n] of chosen.entries()) {
      const one = facts.volumes[n], image = await load(one, one.colours, ...one.window, place ? Number(find("plane-opacity").value) / 100 : 1, true);
      viewer.addVolume(image); shown.push([one, image]);
    }
    marks = [];
    for (const [n, mask] of facts.masks.entries()) {
      const image = await load(mask, `mask-${mask.name}`, 0.5, 1, 0, false);
      viewer.addVolume(image); marks.push(image);
    }
    fade();
  }
  function fade() {
    const level = Number(find("plane-masks").value) / 100;
    if (shown.length > 1) viewer.setOpacity(1, Number(find("plane-opacity").value) / 100);
    marks.forEach((image, n) => viewer.setOpacity(shown.length + n, frame.querySelector(`[data-plane="${n}"]`).checked ? level : 0));
    viewer.updateGLVolume();
    frame.dataset.volumes = viewer.volumes.length;
  }
  viewer.onLocationChange = at => { find("plane-point").textContent = at.string ?? ""; };
  (async () => {
    for (const mask of facts.masks) {
      const [red, green, blue] = hex(mask.colour);
      viewer.addColormap(`mask-${mask.name}`, {R: [red, red], G: [green, green], B: [blue, blue], A: [0, 255], I: [0, 255]});
    }
    await viewer.attachToCanvas(find("planes"));
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    await show();
    for (const id of ["plane-image", "plane-over"]) find(id).addEventListener("change", show);
    for (const box of frame.querySelectorAll("input")) box.addEventListener("input", fade);
    frame.dataset.ready = "yes";
  })().catch(error => { frame.dataset.fault = String(error); throw error; });
}
