"use strict";
// The page as it is now, every two seconds. Without this, the browser loads it again itself.
(() => {
  const EVERY = 2000;
  const PATIENCE = 10000;
  const stale = document.getElementById("stale");
  const said = document.getElementById("said");
  const headline = () => document.querySelector("h1").textContent;
  let heard = new Date();

  async function look() {
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(await answer.text());
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      heard = new Date();
      stale.hidden = true;
      document.documentElement.classList.remove("old");
      if (!getSelection().isCollapsed) return; // somebody is about to copy something
      const before = headline();
      document.title = next.title;
      document.querySelector("main").replaceWith(next.querySelector("main"));
      if (headline() !== before) said.textContent = headline(); // read out, once
    } catch (error) {
      stale.textContent =
        `No answer since ${heard.toLocaleTimeString()}: has it stopped? What follows is how it was then.`;
      stale.hidden = false;
      document.documentElement.classList.add("old");
    }
  }

  async function keepLooking() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, EVERY));
      if (!document.hidden) await look();
    }
  }

  document.addEventListener("visibilitychange", () => document.hidden || look());
  keepLooking();
})();
