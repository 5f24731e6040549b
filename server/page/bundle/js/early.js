// Before anything is drawn: the theme that was chosen, so that the page does not flash.
try {
  const theme = localStorage.getItem("sdgo.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the system's theme holds.
}
