(() => {
  const tip = document.getElementById("tip");
  const show = (event) => {
    const point = event.target.closest ? event.target.closest('[id*="hover-"]') : null;
    const title = point && point.querySelector("title");
    tip.style.display = title ? "block" : "none";
    if (!title) return;
    tip.textContent = title.textContent;
    tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 4)) + "px";
    tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 12) + "px";
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
})();
